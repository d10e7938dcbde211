/** RunPod serverless queue endpoints, with our worker or the community's. Only the wire. */
import type { OutputKind } from '@ryla/workflow';
import type { Dispatcher } from 'undici';
import { z } from 'zod';

import type { Adapter, CallOptions, ProviderRef } from '../adapter.ts';
import { base64Content } from '../base64-content.ts';
import { ComfyUIServiceError, type ErrorCode, type ErrorContext } from '../errors.ts';
import { bytesOf, sizeOf } from '../file-content.ts';
import { createHttpClient, excerpt, type HttpClient, readJson, readText, retryAfter } from '../http.ts';
import type { JobProgress, JobSnapshot, JobStatus, JobSubmission } from '../job.ts';
import { JobOutput } from '../output.ts';
import { RUNPOD_LIMITS } from './runpod-limits.ts';

/** Options of {@link runpod}. */
export interface RunPodOptions {
  readonly endpointId: string;
  readonly apiKey: string;
  /** Address of the job API up to /v2. */
  readonly apiUrl?: string;
  /** Longest execution in milliseconds; RunPod's own default is 600,000. */
  readonly executionTimeoutMs?: number;
  readonly http?: HttpClient;
  readonly now?: () => number;
}

/** RunPod's job API. */
export const RUNPOD_API_URL = 'https://api.runpod.ai/v2';

const state = z.enum(['IN_QUEUE', 'IN_PROGRESS', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED', 'TIMED_OUT']);
const envelope = z.object({
  id: z.string(),
  status: state,
  delayTime: z.number().nullish(),
  executionTime: z.number().nullish(),
  output: z.unknown().optional(),
  error: z.unknown().optional(),
});
const file = z.object({
  filename: z.string(),
  type: z.enum(['base64', 's3_url']),
  data: z.string(),
  nodeId: z.string().nullish(),
  kind: z.enum(['image', 'video', 'audio', 'text', 'file', 'latent']).nullish(),
  contentType: z.string().nullish(),
  size: z.number().nullish(),
  sha256: z.string().nullish(),
});
const result = z.object({
  images: z.array(file).default([]),
  files: z.array(file).default([]),
  timings: z.object({ bootMs: z.number().nullish() }).nullish(),
});
const progressUpdate = z.object({
  progress: z.object({
    value: z.number(),
    nodes_done: z.number(),
    nodes_total: z.number(),
    current_node: z.string().nullish(),
    current_node_class: z.string().nullish(),
    step: z.number().nullish(),
    steps: z.number().nullish(),
  }),
});
const workerError = z.object({
  code: z.string(),
  message: z.string(),
  nodeId: z.string().nullish(),
  classType: z.string().nullish(),
  details: z.unknown().optional(),
  hint: z.string().nullish(),
  retryable: z.boolean().nullish(),
});
const communityFailure = z.object({ details: z.array(z.string()).min(1) });

type Envelope = z.infer<typeof envelope>;

const STATUS: Readonly<Record<z.infer<typeof state>, JobStatus>> = {
  IN_QUEUE: 'queued',
  IN_PROGRESS: 'running',
  RUNNING: 'running',
  COMPLETED: 'succeeded',
  FAILED: 'failed',
  CANCELLED: 'canceled',
  TIMED_OUT: 'failed',
};

const CODES = new Set<string>([
  'canceled',
  'engine_crashed',
  'engine_unavailable',
  'invalid_input',
  'invalid_input_file',
  'invalid_workflow',
  'node_execution_error',
  'out_of_memory',
  'output_missing',
  'payload_too_large',
  'timed_out',
  'worker_lost',
]);

const OUT_OF_MEMORY = /out of memory|outofmemory|allocation on device/i;

/** An adapter for one RunPod queue endpoint. RunPod has no look-up by our id, so this has none. */
export function runpod(options: RunPodOptions): Adapter {
  const http = options.http ?? createHttpClient();
  const now = options.now ?? Date.now;
  const base = `${(options.apiUrl ?? RUNPOD_API_URL).replace(/\/$/, '')}/${encodeURIComponent(options.endpointId)}/`;

  async function call(
    method: 'GET' | 'POST',
    path: string,
    { signal }: CallOptions,
    body?: string,
  ): Promise<Dispatcher.ResponseData> {
    const response = await http.send({
      method,
      url: new URL(path, base),
      headers: {
        authorization: `Bearer ${options.apiKey}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body }),
      signal,
    });
    if (response.statusCode === 200) return response;
    throw await refusal(response, now());
  }

  return {
    async submit(submission, callOptions) {
      const body = await requestBody(submission, options.executionTimeoutMs);
      const answer = parsed(envelope, await readJson(await call('POST', 'run', callOptions, body)));
      return { id: answer.id };
    },
    async status(ref, callOptions) {
      return snapshotOf(
        parsed(envelope, await readJson(await call('GET', `status/${idOf(ref)}`, callOptions))),
        http,
      );
    },
    async cancel(ref, callOptions) {
      try {
        await (await call('POST', `cancel/${idOf(ref)}`, callOptions)).body.dump();
      } catch (error) {
        // A job that has ended can no longer be canceled; its status tells.
        if (!(ComfyUIServiceError.isInstance(error) && error.code === 'job_not_found')) throw error;
      }
    },
    close: () => http.close(),
  };
}

function idOf(ref: ProviderRef): string {
  return encodeURIComponent(ref['id'] ?? '');
}

async function requestBody(job: JobSubmission, executionTimeoutMs: number | undefined): Promise<string> {
  const sizes = await Promise.all(job.files.map(({ source }) => sizeOf(source)));
  const encoded = sizes.reduce((sum, size) => sum + Math.ceil(size / 3) * 4, 0);
  if (encoded > RUNPOD_LIMITS.runBodyBytes) throw tooLarge(job, encoded);
  const images = await Promise.all(
    job.files.map(async ({ name, source }) => ({
      name,
      image: Buffer.from(await bytesOf(source)).toString('base64'),
    })),
  );
  const body = JSON.stringify({
    input: { workflow: job.workflow, images, jobId: job.jobId },
    ...(executionTimeoutMs === undefined ? {} : { policy: { executionTimeout: executionTimeoutMs } }),
  });
  const size = Buffer.byteLength(body);
  if (size > RUNPOD_LIMITS.runBodyBytes) throw tooLarge(job, size);
  return body;
}

function tooLarge(job: JobSubmission, size: number): ComfyUIServiceError {
  const mebibytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1);
  return new ComfyUIServiceError(
    'payload_too_large',
    `The job with its files is ${mebibytes(size)} MiB as RunPod needs it; POST /run takes ${mebibytes(RUNPOD_LIMITS.runBodyBytes)} MiB.`,
    {
      jobId: job.jobId,
      hint: 'Send smaller files, or use a backend that takes uploads, such as Modal.',
      accepted: 'no',
    },
  );
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const checked = schema.safeParse(value);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw new ComfyUIServiceError(
    'invalid_response',
    `RunPod's answer has an unexpected shape: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}.`,
    { cause: checked.error, accepted: 'unknown' },
  );
}

function snapshotOf(answer: Envelope, http: HttpClient): JobSnapshot {
  const update = answer.status === 'IN_PROGRESS' ? progressUpdate.safeParse(answer.output) : undefined;
  const base = {
    queuePosition: undefined,
    progress: update?.success === true ? progressOf(update.data.progress) : undefined,
    outputs: [],
    error: undefined,
    timings: timingsOf(answer),
  };
  if (answer.status === 'FAILED') return { ...base, status: 'failed', error: failureOf(answer) };
  if (answer.status === 'TIMED_OUT') {
    const message =
      'RunPod ended the job because it ran longer than its execution timeout, or waited longer than its time to live.';
    return { ...base, status: 'failed', error: new ComfyUIServiceError('timed_out', message) };
  }
  if (answer.status !== 'COMPLETED') return { ...base, status: STATUS[answer.status] };
  const outputs = result.safeParse(answer.output);
  if (!outputs.success) {
    const message =
      answer.output === undefined || answer.output === null
        ? 'RunPod reports the job as completed but has no output: the worker could not deliver it.'
        : "The worker's output has a shape that this client does not know.";
    return {
      ...base,
      status: 'failed',
      error: new ComfyUIServiceError('output_missing', message, { cause: outputs.error }),
    };
  }
  const files = [...outputs.data.images, ...outputs.data.files].map((entry) => toOutput(entry, http));
  return { ...base, status: 'succeeded', outputs: files };
}

function timingsOf(answer: Envelope): JobSnapshot['timings'] {
  const output = result.safeParse(answer.output);
  const delay = answer.delayTime ?? null;
  const boot = output.success ? (output.data.timings?.bootMs ?? null) : null;
  // RunPod's delay holds the wait in the queue and the start of a worker; the worker says how long its start took.
  const coldStart = boot === null || delay === null ? boot : Math.min(boot, delay);
  return {
    queueMs: delay === null ? null : Math.max(0, delay - (coldStart ?? 0)),
    coldStartMs: coldStart,
    executionMs: answer.executionTime ?? null,
  };
}

function progressOf(update: z.infer<typeof progressUpdate>['progress']): JobProgress {
  return {
    value: Math.min(1, Math.max(0, update.value)),
    nodesDone: update.nodes_done,
    nodesTotal: update.nodes_total,
    node: update.current_node ?? undefined,
    nodeClass: update.current_node_class ?? undefined,
    step: update.step ?? undefined,
    steps: update.steps ?? undefined,
  };
}

function toOutput(entry: z.infer<typeof file>, http: HttpClient): JobOutput {
  const description = {
    nodeId: entry.nodeId ?? '',
    name: entry.filename,
    kind: entry.kind ?? ('image' satisfies OutputKind),
    contentType: entry.contentType ?? 'image/png',
    size: entry.size ?? undefined,
    sha256: entry.sha256 ?? undefined,
  };
  const open = entry.type === 's3_url' ? fromUrl(entry, http) : base64Content(entry.data, entry.filename);
  return new JobOutput(description, open);
}

/** A file in a bucket: fetched without our key, over https only. */
function fromUrl(
  entry: z.infer<typeof file>,
  http: HttpClient,
): (options: { readonly signal: AbortSignal; readonly offset: number }) => AsyncIterable<Uint8Array> {
  return async function* ({ signal, offset }) {
    const url = URL.canParse(entry.data) ? new URL(entry.data) : undefined;
    if (url?.protocol !== 'https:') {
      throw new ComfyUIServiceError(
        'untrusted_url',
        `The worker gave an address for ${entry.filename} that is not https.`,
      );
    }
    const headers: Readonly<Record<string, string>> = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const response = await http.send({ method: 'GET', url, headers, signal });
    if (response.statusCode !== (offset > 0 ? 206 : 200)) {
      const { statusCode } = response;
      await response.body.dump();
      const retryable = statusCode >= 500;
      throw new ComfyUIServiceError(
        'output_missing',
        `${entry.filename} cannot be read (status ${statusCode}).`,
        { retryable },
      );
    }
    for await (const piece of response.body) if (Buffer.isBuffer(piece)) yield piece;
  };
}

/** The true cause: our worker's JSON, the community worker's details, or RunPod's own text. */
function failureOf(answer: Envelope): ComfyUIServiceError {
  const text = typeof answer.error === 'string' ? answer.error : JSON.stringify(answer.error ?? '');
  const ours = workerError.safeParse(
    typeof answer.error === 'string' ? jsonOrUndefined(answer.error) : answer.error,
  );
  if (ours.success) {
    const { code, message, nodeId, classType, details, hint, retryable } = ours.data;
    return new ComfyUIServiceError(codeOf(code), message, {
      nodeId: nodeId ?? undefined,
      classType: classType ?? undefined,
      details,
      hint: hint ?? undefined,
      retryable: retryable ?? undefined,
    });
  }
  const community = communityFailure.safeParse(answer.output);
  const message = community.success
    ? community.data.details.join('\n')
    : excerpt(text) || 'The worker failed without a reason.';
  return new ComfyUIServiceError(OUT_OF_MEMORY.test(message) ? 'out_of_memory' : 'backend_error', message);
}

function codeOf(code: string): ErrorCode {
  return CODES.has(code) ? (code as ErrorCode) : 'backend_error';
}

function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function refusal(response: Dispatcher.ResponseData, now: number): Promise<ComfyUIServiceError> {
  const { statusCode } = response;
  const retryAfterMs = retryAfter(response, now);
  const text = excerpt(await readText(response, 1 << 20).catch(() => '')) || `status ${statusCode}`;
  const context: ErrorContext = {
    retryAfterMs,
    accepted: statusCode >= 500 ? 'unknown' : 'no',
    retryable: statusCode === 429 || statusCode >= 500,
  };
  switch (statusCode) {
    case 401:
    case 403:
      return new ComfyUIServiceError('unauthorized', `RunPod refused the API key: ${text}`, {
        ...context,
        hint: 'Check the API key of this backend.',
      });
    case 404:
      return new ComfyUIServiceError(
        'job_not_found',
        `RunPod does not know this job or endpoint (results are kept 30 minutes): ${text}`,
        context,
      );
    case 413:
      return new ComfyUIServiceError('payload_too_large', text, context);
    case 429:
      return new ComfyUIServiceError('rate_limited', `RunPod's rate limit was reached: ${text}`, context);
    default:
      return new ComfyUIServiceError(statusCode === 400 ? 'invalid_input' : 'backend_error', text, context);
  }
}
