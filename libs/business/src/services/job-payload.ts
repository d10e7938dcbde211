/** What is stored for sending a job again after a crash, and the hash that guards its id. */
import { type ApiWorkflow, type FileInput, parseApiWorkflow } from '@ryla/workflow';
import { z } from 'zod';

import { contentOf } from '../file-content.ts';
import type { JobFile, JobSubmission } from '../job.ts';
import { payloadHash } from '../policy/payload-hash.ts';

/** Bytes of files that are stored with a job; a job with more is declared lost when it was never sent. */
const STORED_BYTES = 4 * 1024 * 1024;

/** Largest file that the service reads for its hash. */
const LARGEST_FILE = 64 * 1024 * 1024 * 1024;

const storedPayload = z.object({
  workflow: z.unknown(),
  files: z.array(
    z.object({
      name: z.string(),
      source: z.union([
        z.object({ path: z.string() }),
        z.object({ url: z.string(), name: z.string().optional() }),
        z.object({ name: z.string(), base64: z.string() }),
      ]),
    }),
  ),
});

/** A job that can be stored. */
export interface PreparedPayload {
  readonly hash: string;
  /** As it is stored; undefined when its files are too large for that. */
  readonly stored: string | undefined;
}

/** Hashes a job's workflow and files, and puts them into a form that can be stored. */
export async function preparePayload(
  job: Pick<JobSubmission, 'workflow' | 'files'>,
  signal: AbortSignal,
): Promise<PreparedPayload> {
  const hashed = [];
  const files: { readonly name: string; readonly source: object }[] = [];
  let bytes = 0;
  for (const { name, source } of job.files) {
    if ('url' in source) {
      hashed.push({ name, content: source.url });
      files.push({ name, source });
      continue;
    }
    const content = await contentOf(source, {
      signal,
      maximumBytes: LARGEST_FILE,
      fetch: notFetched,
    });
    hashed.push({ name, content: content.sha256 });
    if ('path' in source) {
      files.push({ name, source });
      continue;
    }
    bytes += content.size;
    if (bytes > STORED_BYTES) continue;
    const pieces: Uint8Array[] = [];
    for await (const piece of content.stream(signal)) pieces.push(piece);
    files.push({ name, source: { name: source.name, base64: Buffer.concat(pieces).toString('base64') } });
  }
  const { workflow } = job;
  return {
    hash: payloadHash({ workflow, files: hashed }),
    stored: bytes > STORED_BYTES ? undefined : JSON.stringify({ workflow, files }),
  };
}

/** A stored job as it is sent again. */
export function restorePayload(text: string): { readonly workflow: ApiWorkflow; readonly files: JobFile[] } {
  const { workflow, files } = storedPayload.parse(JSON.parse(text));
  return {
    workflow: parseApiWorkflow(workflow),
    files: files.map(({ name, source }): JobFile => ({ name, source: toFileInput(source) })),
  };
}

/** What is given by its address is hashed by it, and left to the adapter. */
function notFetched(url: string): never {
  throw new Error(`${url} is passed on, not fetched.`);
}

function toFileInput(source: z.infer<typeof storedPayload>['files'][number]['source']): FileInput {
  if ('path' in source) return source;
  if ('base64' in source) return { name: source.name, bytes: Buffer.from(source.base64, 'base64') };
  return { url: source.url, ...(source.name === undefined ? {} : { name: source.name }) };
}
