import { existsSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

import type { CallToolResult, ContentBlock } from '@modelcontextprotocol/server';
import type { JobOutput, JobRecord, JobResult } from '@ryla/business';
import type { EndpointConfig } from '@ryla/workflow';

import { freeName } from '../free-name.ts';
import { dollars, duration, errorDocument } from '../output.ts';

/** Characters of a text output that an answer repeats. */
const LONGEST_TEXT = 20_000;

/** Where outputs go, and how much of them an answer carries. */
export interface AnswerOptions {
  /** Folder that outputs are saved in, below `<endpoint>/<job>`. */
  readonly out: string;
  /** Bytes of pictures and sounds in one answer; what is beyond is a link to the saved file. */
  readonly inlineBytes: number;
}

interface SavedOutput {
  readonly output: string | null;
  readonly name: string;
  readonly kind: JobOutput['kind'];
  readonly contentType: string;
  readonly bytes: number;
  readonly path: string;
}

/** The answer for a job that has succeeded: what it made is saved, and small pictures are in the answer. */
export async function resultAnswer(
  result: JobResult,
  endpoint: Pick<EndpointConfig, 'name' | 'outputs'> | undefined,
  options: AnswerOptions,
  signal?: AbortSignal,
): Promise<CallToolResult> {
  const { jobId, backend, timings, cost, warnings } = result;
  const folder = path.join(options.out, endpoint?.name ?? 'workflow', jobId);
  const saved: SavedOutput[] = [];
  for (const output of result.outputs) saved.push(await save(output, endpoint, folder, saved, signal));
  const content: ContentBlock[] = [];
  const outputs: (SavedOutput & { readonly inline: boolean })[] = [];
  let left = options.inlineBytes;
  for (const output of saved) {
    const block = await inlineBlock(output, left);
    if (block !== undefined) left -= output.bytes;
    outputs.push({ ...output, inline: block !== undefined });
    content.push(block ?? linkTo(output));
  }
  const lines = [
    `Job ${jobId} on ${backend} succeeded in ${duration(timings.totalMs)}; cost ${dollars(cost?.usd)}.`,
    ...saved.map(
      ({ path: file, output, bytes }) =>
        `Saved ${output === null ? '' : `${output}: `}${file} (${bytes} bytes)`,
    ),
    ...(saved.length === 0 ? ['It made nothing.'] : []),
    ...warnings.map((warning) => `Warning: ${warning}`),
  ];
  return {
    content: [{ type: 'text', text: lines.join('\n') }, ...content],
    structuredContent: {
      jobId,
      endpoint: endpoint?.name ?? null,
      backend,
      status: 'succeeded',
      outputs,
      seconds: timings.totalMs / 1_000,
      costUsd: cost?.usd ?? null,
      warnings: [...warnings],
    },
  };
}

/** The answer for a job that goes on while the call ends. */
export function pendingAnswer(
  { id, endpoint, backend, status }: JobRecord,
  waitedMs: number,
): CallToolResult {
  const text = `Job ${id} on ${backend} is ${status} after ${duration(waitedMs)} and goes on. Call job_result with {"jobId": "${id}"} to go on waiting for what it makes, or cancel_job to stop it.`;
  return {
    content: [{ type: 'text', text }],
    structuredContent: {
      jobId: id,
      endpoint,
      backend,
      status,
      outputs: [],
      seconds: null,
      costUsd: null,
      warnings: [],
    },
  };
}

/** An error as the answer of a tool: what happened and what to do, for the agent to act on. */
export function errorAnswer(error: unknown): CallToolResult {
  const { code, message, hint, jobId, nodeId } = errorDocument(error);
  const where = nodeId === undefined ? '' : ` (node ${nodeId})`;
  const lines = [
    `${code}: ${message}${where}`,
    ...(hint === undefined ? [] : [hint]),
    ...(jobId === undefined ? [] : [`Job: ${jobId}`]),
  ];
  return { isError: true, content: [{ type: 'text', text: lines.join('\n') }] };
}

async function save(
  made: JobOutput,
  endpoint: Pick<EndpointConfig, 'outputs'> | undefined,
  folder: string,
  before: readonly SavedOutput[],
  signal: AbortSignal | undefined,
): Promise<SavedOutput> {
  const named = Object.entries(endpoint?.outputs ?? {}).find(([, { node }]) => node === made.nodeId);
  const reading = signal === undefined ? {} : { signal };
  const there = path.join(folder, made.name);
  // A second look at the same job finds its files.
  const isThere =
    existsSync(there) &&
    made.size === (await stat(there)).size &&
    !before.some((other) => other.path === there);
  const file = isThere ? there : await made.save(freeName(folder, made.name), reading);
  const { kind, contentType, name } = made;
  return { output: named?.[0] ?? null, name, kind, contentType, bytes: (await stat(file)).size, path: file };
}

async function inlineBlock(output: SavedOutput, left: number): Promise<ContentBlock | undefined> {
  const { kind, contentType, bytes, path: file } = output;
  if (kind === 'text' && bytes <= LONGEST_TEXT) return { type: 'text', text: await readFile(file, 'utf8') };
  const type = contentType.startsWith('image/')
    ? 'image'
    : contentType.startsWith('audio/')
      ? 'audio'
      : undefined;
  if (type === undefined || bytes > left) return undefined;
  return { type, data: (await readFile(file)).toString('base64'), mimeType: contentType };
}

function linkTo({ path: file, name, contentType, bytes }: SavedOutput): ContentBlock {
  return { type: 'resource_link', uri: pathToFileURL(file).href, name, mimeType: contentType, size: bytes };
}
