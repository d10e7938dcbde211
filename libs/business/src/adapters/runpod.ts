/** RunPod serverless queue endpoints, with our worker or the community's. Only the wire. */
import type { OutputKind } from '@ryla/workflow';
import { z } from 'zod';

import type { Adapter, CallOptions, ProviderRef } from '../adapter.ts';
import { base64Content } from '../base64-content.ts';
import { ComfyUIServiceError, type ErrorContext } from '../errors.ts';
import { bytesOf, contentOf, contentTypeOf, type FileContent } from '../file-content.ts';
import type { InputBucket } from '../input-bucket.ts';
import {
  createHttpClient,
  excerpt,
  type HttpClient,
  type HttpResponse,
  readBase64Json,
  readJson,
  readText,
  retryAfter,
} from '../http.ts';
import type { JobFile, JobProgress, JobSnapshot, JobStatus, JobSubmission } from '../job.ts';
import { JobOutput, type OpenContent } from '../output.ts';
import { RUNPOD_RATE_LIMITS } from '../policy/provider-limits.ts';
import {
  fetchForeign,
  type FetchForeign,
  remoteContent,
  type RemoteContentOptions,
} from '../remote-content.ts';
import { jsonOrUndefined, parsedAnswer } from './answer.ts';
import { RUNPOD_LIMITS } from './runpod-limits.ts';
import { codeOfWorker } from './worker-codes.ts';
import { measured, workerMetrics } from './worker-metrics.ts';

/** Options of {@link runpod}. */
export interface RunPodOptions {
  readonly endpointId: string;
  readonly apiKey: string;
  /** Address of the job API up to /v2. */
  readonly apiUrl?: string;
  /** Longest execution in milliseconds; RunPod's own default is 600,000. */
  readonly executionTimeoutMs?: number;
  /**
   * `wrapped` (default): `{workflow, images, jobId}`, as our worker and the community's take it. `bare`: a workflow
   * without files is the whole `input`, as endpoints with a handler of their own take it; our job id is not sent then.
   */
  readonly payload?: 'wrapped' | 'bare';
  /**
   * Whether the worker fetches a picture whose `image` is an https address. Files given by address are then passed
   * on by address. Default false, or true with an `inputBucket`.
   */
  readonly imageUrls?: boolean;
  /** Where files go that do not fit into a request; the worker must take addresses then (`imageUrls`). */
  readonly inputBucket?: InputBucket;
  /** Whether files may be fetched from addresses that are not public, also over http. Default false. */
  readonly allowPrivateNetworks?: boolean;
  /**
   * Whether the endpoint's workers claim jobs by our id (ours do, with a network volume or RYLA_CLAIMS_DIR): a submission
   * whose answer was lost is then sent again, and the job still runs once. Default false.
   */
  readonly claims?: boolean;
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
  /** Nodes and files that the community's worker could not deliver. */
  errors: z.array(z.string()).default([]),
  status: z.string().nullish(),
  timings: z.object({ bootMs: z.number().nullish() }).nullish(),
  metrics: workerMetrics,
});
const health = z.object({
  jobs: z.object({ inQueue: z.number().nullish(), inProgress: z.number().nullish() }),
  workers: z.object({ idle: z.number().nullish() }),
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
const claimedElsewhere = z.object({
  code: z.literal('already_claimed'),
  details: z.object({ runpodJobId: z.string() }),
});
const communityFailure = z.object({ details: z.array(z.string()).min(1) });
const handlerException = z.object({ error_type: z.string(), error_message: z.string() });
const refusedOutput = z.object({ error: z.string().min(1) });

type Envelope = z.infer<typeof envelope>;
type ContentOfFile = (entry: z.infer<typeof file>) => OpenContent;

const STATUS: Readonly<Record<z.infer<typeof state>, JobStatus>> = {
  IN_QUEUE: 'queued',
  IN_PROGRESS: 'running',
  RUNNING: 'running',
  COMPLETED: 'succeeded',
  FAILED: 'failed',
  CANCELLED: 'canceled',
  TIMED_OUT: 'failed',
};

/** Largest file that fits into POST /run in base64, in bytes. */
const INLINE_BYTES = Math.floor((RUNPOD_LIMITS.runBodyBytes / 4) * 3);

/** Largest file that goes to the bucket, in bytes: what S3 takes in one PUT. */
const BUCKET_BYTES = 5 * 1024 * 1024 * 1024;

/** Bytes of a request beside the workflow and the files' contents: names, keys, policy. */
const ENVELOPE_BYTES = 4_096;

const OUT_OF_MEMORY = /out of memory|outofmemory|allocation on device/i;

/** An adapter for one RunPod queue endpoint. RunPod has no look-up by our id, so this has none. */
export function runpod(options: RunPodOptions): Adapter {
  const http = options.http ?? createHttpClient();
  const now = options.now ?? Date.now;
  const allowPrivate = options.allowPrivateNetworks ?? false;
  const foreign = createHttpClient({ network: allowPrivate ? 'any' : 'public' });
  const remote: RemoteContentOptions = { foreign, allowHttp: allowPrivate };
  const fetch = fetchForeign(remote);
  const base = `${(options.apiUrl ?? RUNPOD_API_URL).replace(/\/$/, '')}/${encodeURIComponent(options.endpointId)}/`;

  async function call(
    method: 'GET' | 'POST',
    path: string,
    { signal }: CallOptions,
    body?: string,
  ): Promise<HttpResponse> {
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

  const adapter: Adapter = {
    async submit(submission, callOptions) {
      const body = await requestBody(submission, options, fetch, callOptions.signal).catch(
        (error: unknown) => {
          throw ComfyUIServiceError.isInstance(error) ? error.within({ jobId: submission.jobId }) : error;
        },
      );
      const answer = parsed(envelope, await readJson(await call('POST', 'run', callOptions, body)));
      return { id: answer.id };
    },
    async status(ref, callOptions) {
      const { value, content } = await readBase64Json(await call('GET', `status/${idOf(ref)}`, callOptions));
      return snapshotOf(parsed(envelope, value), (entry) =>
        entry.type === 's3_url'
          ? remoteContent(remote, { url: entry.data, name: entry.filename, nodeId: entry.nodeId ?? '' })
          : content(entry.data, entry.filename),
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
    fromWebhook(value) {
      const read = envelope.safeParse(value);
      if (!read.success) return undefined;
      const snapshot = snapshotOf(read.data, (entry) =>
        entry.type === 's3_url'
          ? remoteContent(remote, { url: entry.data, name: entry.filename, nodeId: entry.nodeId ?? '' })
          : base64Content(entry.data, entry.filename),
      );
      // A result that is missing here may be there all the same: the status tells.
      if (snapshot.error?.code === 'output_missing') return undefined;
      return { ref: { id: read.data.id }, snapshot };
    },
    async health(callOptions) {
      const { jobs, workers } = parsed(health, await readJson(await call('GET', 'health', callOptions)));
      return {
        queued: jobs.inQueue ?? undefined,
        running: jobs.inProgress ?? undefined,
        idleWorkers: workers.idle ?? undefined,
      };
    },
    limits: RUNPOD_RATE_LIMITS,
    retentionMs: RUNPOD_LIMITS.resultRetentionMs,
    provider: 'runpod',
    async close() {
      await Promise.all([http.close(), foreign.close()]);
    },
  };
  return options.claims === true
    ? { ...adapter, resubmit: (job, callOptions) => adapter.submit(job, callOptions) }
    : adapter;
}

function idOf(ref: ProviderRef): string {
  return encodeURIComponent(ref['id'] ?? '');
}

async function requestBody(
  job: JobSubmission,
  options: RunPodOptions,
  fetch: FetchForeign,
  signal: AbortSignal,
): Promise<string> {
  const images = await inlineOrStored(job, options, fetch, signal);
  const isBare = options.payload === 'bare' && images.length === 0;
  const timeout = options.executionTimeoutMs;
  const trace = job.traceparent === undefined ? {} : { traceparent: job.traceparent };
  const body = JSON.stringify({
    input: isBare ? job.workflow : { workflow: job.workflow, images, jobId: job.jobId, ...trace },
    ...(job.webhookUrl === undefined ? {} : { webhook: job.webhookUrl }),
    ...(timeout === undefined ? {} : { policy: { executionTimeout: timeout } }),
  });
  const size = Buffer.byteLength(body);
  if (size > RUNPOD_LIMITS.runBodyBytes) throw tooLarge(job, size);
  return body;
}

/** The files as the worker takes them: in base64 while they fit into the request, the largest by address otherwise. */
async function inlineOrStored(
  job: JobSubmission,
  options: RunPodOptions,
  fetch: FetchForeign,
  signal: AbortSignal,
): Promise<readonly { readonly name: string; readonly image: string }[]> {
  const bucket = options.inputBucket;
  const urls = new Map<JobFile, string>();
  const contents = new Map<JobFile, FileContent>();
  const maximumBytes = bucket === undefined ? INLINE_BYTES : BUCKET_BYTES;
  for (const file of job.files) {
    const { source } = file;
    if ('url' in source && (options.imageUrls ?? bucket !== undefined) && isHttps(source.url))
      urls.set(file, source.url);
    else contents.set(file, await contentOf(source, { signal, maximumBytes, fetch }));
  }
  let size = Buffer.byteLength(JSON.stringify(job.workflow)) + ENVELOPE_BYTES;
  for (const [file, content] of [...contents].sort(([, a], [, b]) => a.size - b.size)) {
    size += encodedSize(content.size);
    if (size <= RUNPOD_LIMITS.runBodyBytes) continue;
    if (bucket === undefined) throw tooLarge(job, size);
    urls.set(file, await stored(bucket, file, content, signal));
  }
  return Promise.all(
    job.files.map(async (file) => {
      const content = contents.get(file);
      const image =
        urls.get(file) ??
        (content === undefined ? '' : Buffer.from(await bytesOf(content, signal)).toString('base64'));
      return { name: file.name, image };
    }),
  );
}

async function stored(
  bucket: InputBucket,
  file: JobFile,
  content: FileContent,
  signal: AbortSignal,
): Promise<string> {
  try {
    return await bucket.put(content.sha256, content, contentTypeOf(file.name), signal);
  } catch (cause) {
    signal.throwIfAborted();
    throw new ComfyUIServiceError(
      'backend_unreachable',
      `${file.name} could not be put into the input bucket.`,
      {
        cause,
        retryable: !ComfyUIServiceError.isInstance(cause) || cause.retryable,
        accepted: 'no',
        hint: 'Check the address and the keys of inputBucket.',
      },
    );
  }
}

function encodedSize(bytes: number): number {
  return Math.ceil(bytes / 3) * 4;
}

function isHttps(url: string): boolean {
  return URL.canParse(url) && new URL(url).protocol === 'https:';
}

function tooLarge(job: JobSubmission, size: number): ComfyUIServiceError {
  const mebibytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1);
  return new ComfyUIServiceError(
    'payload_too_large',
    `The job with its files is ${mebibytes(size)} MiB as RunPod needs it; POST /run takes ${mebibytes(RUNPOD_LIMITS.runBodyBytes)} MiB.`,
    {
      jobId: job.jobId,
      hint: 'Send smaller files, set inputBucket, or use a backend that takes uploads, such as Modal.',
      accepted: 'no',
    },
  );
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  return parsedAnswer(schema, value, "RunPod's answer");
}

function snapshotOf(answer: Envelope, contentOfFile: ContentOfFile): JobSnapshot {
  const update = answer.status === 'IN_PROGRESS' ? progressUpdate.safeParse(answer.output) : undefined;
  const base = {
    queuePosition: undefined,
    progress: update?.success === true ? progressOf(update.data.progress) : undefined,
    outputs: [],
    error: undefined,
    timings: timingsOf(answer),
  };
  if (answer.status === 'FAILED') {
    const movedTo = holderOf(answer);
    return {
      ...base,
      status: 'failed',
      error: failureOf(answer),
      ...(movedTo === undefined ? {} : { movedTo }),
    };
  }
  if (answer.status === 'TIMED_OUT') {
    const message =
      'RunPod ended the job because it ran longer than its execution timeout, or waited longer than its time to live.';
    return { ...base, status: 'failed', error: new ComfyUIServiceError('timed_out', message) };
  }
  if (answer.status !== 'COMPLETED') return { ...base, status: STATUS[answer.status] };
  const refused = refusedOutput.safeParse(answer.output);
  if (refused.success)
    return { ...base, status: 'failed', error: failureOf({ ...answer, error: refused.data.error }) };
  const outputs = outputOf(answer);
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
  const { images, files, errors, metrics } = outputs.data;
  const known = { ...base, ...measured(metrics) };
  const made = [...images, ...files].map((entry) => toOutput(entry, contentOfFile(entry)));
  if (errors.length === 0) return { ...known, status: 'succeeded', outputs: made };
  // Nothing but errors is what the community's worker makes of a node that failed.
  if (made.length === 0) return { ...known, status: 'failed', error: plainFailure(errors.join('\n')) };
  return { ...known, status: 'succeeded', outputs: made, warnings: errors };
}

/** The result of a finished job. An object with nothing that we know is no result, and not an empty one. */
function outputOf({ output }: Envelope): z.ZodSafeParseResult<z.infer<typeof result>> {
  const isResult =
    typeof output === 'object' &&
    output !== null &&
    ['images', 'files', 'status'].some((key) => key in output);
  return result.safeParse(isResult ? output : undefined);
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

function toOutput(entry: z.infer<typeof file>, open: OpenContent): JobOutput {
  const description = {
    nodeId: entry.nodeId ?? '',
    name: entry.filename,
    kind: entry.kind ?? ('image' satisfies OutputKind),
    contentType: entry.contentType ?? pictureType(entry.filename),
    size: entry.size ?? undefined,
    sha256: entry.sha256 ?? undefined,
  };
  return new JobOutput(description, open);
}

/** The community's worker returns pictures only, PNG unless the name says otherwise. */
function pictureType(name: string): string {
  const type = contentTypeOf(name);
  return type.startsWith('image/') ? type : 'image/png';
}

/** The submission that holds the job, where this one came second. */
function holderOf({ error }: Envelope): ProviderRef | undefined {
  const checked = claimedElsewhere.safeParse(typeof error === 'string' ? jsonOrUndefined(error) : error);
  return checked.success ? { id: checked.data.details.runpodJobId } : undefined;
}

/** The true cause: our worker's JSON, the community worker's details, or RunPod's own text. */
function failureOf(answer: Envelope): ComfyUIServiceError {
  const text = typeof answer.error === 'string' ? answer.error : JSON.stringify(answer.error ?? '');
  const ours = workerError.safeParse(
    typeof answer.error === 'string' ? jsonOrUndefined(answer.error) : answer.error,
  );
  if (ours.success) {
    const { code, message, nodeId, classType, details, hint, retryable } = ours.data;
    return new ComfyUIServiceError(codeOfWorker(code) ?? 'backend_error', message, {
      nodeId: nodeId ?? undefined,
      classType: classType ?? undefined,
      details,
      hint: hint ?? undefined,
      retryable: retryable ?? undefined,
    });
  }
  const community = communityFailure.safeParse(answer.output);
  if (community.success) return plainFailure(community.data.details.join('\n'));
  // What the worker SDK makes of an exception that the handler let through.
  const exception = handlerException.safeParse(jsonOrUndefined(text));
  if (exception.success) return plainFailure(exception.data.error_message);
  return plainFailure(excerpt(text) || 'The worker failed without a reason.');
}

function plainFailure(message: string): ComfyUIServiceError {
  return new ComfyUIServiceError(OUT_OF_MEMORY.test(message) ? 'out_of_memory' : 'backend_error', message);
}

async function refusal(response: HttpResponse, now: number): Promise<ComfyUIServiceError> {
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
