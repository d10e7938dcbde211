import { readFile, stat } from 'node:fs/promises';

import { type ObjectInfo, parseObjectInfo, WorkflowError } from '@ryla/workflow';

import { userPath } from './user-path.ts';

/** Largest object_info that is read, in bytes; one of a server with 300 packages has about 30 MB. */
const LARGEST = 128 * 1024 * 1024;

/** Longest wait for a server's answer, in milliseconds: a busy ComfyUI takes seconds. */
const TIMEOUT_MS = 60_000;

/**
 * The classes of the user's own ComfyUI: a file with what `GET /object_info` answers, or the server's address.
 *
 * @throws {WorkflowError} `invalid_object_info`, naming the source.
 */
export async function readObjectInfo(source: string): Promise<ObjectInfo> {
  const text = /^https?:\/\//i.test(source) ? await fetchText(source) : await readText(source);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new WorkflowError('invalid_object_info', `${source} is no object_info: it is not JSON.`, { cause });
  }
  try {
    return parseObjectInfo(value);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : '';
    throw new WorkflowError('invalid_object_info', `${source} is no object_info: ${why}`, { cause });
  }
}

async function readText(source: string): Promise<string> {
  const file = userPath(source);
  try {
    const { size } = await stat(file);
    if (size > LARGEST) throw tooLarge(source);
    return await readFile(file, 'utf8');
  } catch (cause) {
    if (WorkflowError.isInstance(cause)) throw cause;
    throw new WorkflowError('invalid_object_info', `${source} cannot be read.`, { cause });
  }
}

async function fetchText(address: string): Promise<string> {
  const url = new URL(address);
  if (!url.pathname.endsWith('/object_info')) url.pathname = `${url.pathname.replace(/\/$/, '')}/object_info`;
  let response: Response;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (cause) {
    throw new WorkflowError(
      'invalid_object_info',
      `${url.href} does not answer. Start that ComfyUI, or give a file: curl ${url.href} > object_info.json`,
      { cause },
    );
  }
  if (!response.ok)
    throw new WorkflowError('invalid_object_info', `${url.href} answered with status ${response.status}.`);
  return limitedText(response, url.href);
}

async function limitedText({ body }: Response, source: string): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const stream: AsyncIterable<Uint8Array> | null = body;
  for await (const part of stream ?? []) {
    size += part.length;
    if (size > LARGEST) throw tooLarge(source);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function tooLarge(source: string): WorkflowError {
  return new WorkflowError(
    'invalid_object_info',
    `${source} has more than ${LARGEST / 1024 / 1024} MiB, which no object_info has.`,
  );
}
