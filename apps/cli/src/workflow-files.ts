import { readFile } from 'node:fs/promises';
import process from 'node:process';
import { text as textOf } from 'node:stream/consumers';

import { type ObjectInfo, parseObjectInfo, WorkflowError } from '@ryla/workflow';
import { coreObjectInfo } from '@ryla/workflow/node';

/** What stands for stdin among files. */
export const STDIN = '-';

/** Milliseconds that a server may take to tell its nodes: those of hundreds of packages are some 50 MB. */
const SERVER_MS = 60_000;

/** A file of a workflow as it was read. */
export interface WorkflowFile {
  /** As it was named; `stdin` for `-`. */
  readonly file: string;
  readonly text: string;
  readonly value: unknown;
}

/**
 * Reads a workflow's file, or stdin for `-`.
 *
 * @throws {WorkflowError} `invalid_workflow` where it cannot be read or is no JSON.
 */
export async function readWorkflowFile(name: string): Promise<WorkflowFile> {
  const file = name === STDIN ? 'stdin' : name;
  let text: string;
  try {
    text = name === STDIN ? await textOf(process.stdin) : await readFile(name, 'utf8');
  } catch (cause) {
    const isMissing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    const why = isMissing ? 'There is no such file.' : String(cause);
    throw new WorkflowError('invalid_workflow', `${file} cannot be read. ${why}`, { cause });
  }
  return { file, text, value: parsed(text.replace(/^\uFEFF/, ''), file, 'invalid_workflow') };
}

/** What is known of node classes: ComfyUI's own, and those of a server. */
export interface Catalogue {
  readonly classes: ObjectInfo;
  /** What the user's server has; undefined without it. */
  readonly server: ObjectInfo | undefined;
}

/**
 * The classes that workflows are looked at with.
 *
 * @param source what a server's /object_info answers: a file, or the server's address; ComfyUI's own classes without it.
 * @throws {WorkflowError} `invalid_object_info`.
 */
export async function loadCatalogue(source: string | undefined): Promise<Catalogue> {
  if (source === undefined) return { classes: coreObjectInfo(), server: undefined };
  const isAddress = /^https?:\/\//i.test(source);
  const text = isAddress ? await fetchObjectInfo(source) : await readObjectInfo(source);
  const server = parseObjectInfo(parsed(text, source, 'invalid_object_info'));
  return { classes: server, server };
}

async function readObjectInfo(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new WorkflowError('invalid_object_info', `${file} cannot be read.`, { cause });
  }
}

async function fetchObjectInfo(address: string): Promise<string> {
  const url = new URL(address);
  if (!url.pathname.endsWith('/object_info')) url.pathname = `${url.pathname.replace(/\/$/, '')}/object_info`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(SERVER_MS) });
    if (!response.ok) throw new Error(`it answers with status ${response.status}`);
    return await response.text();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new WorkflowError(
      'invalid_object_info',
      `${url.origin}${url.pathname} does not tell its nodes: ${why}. Is ComfyUI running there?`,
      { cause },
    );
  }
}

function parsed(text: string, name: string, code: 'invalid_workflow' | 'invalid_object_info'): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : '';
    throw new WorkflowError(code, `${name} is not valid JSON: ${why}`, { cause });
  }
}

/** Whether stdin was asked for more than once. */
export function readsStdinTwice(files: readonly string[]): boolean {
  return files.filter((file) => file === STDIN).length > 1;
}
