/**
 * Comfy API v2: Comfy Cloud, a self-hosted ComfyUI behind comfy-api-proxy, and our own gateway on Modal.
 * Only the wire: requests, answers, errors.
 */
import type { Json } from '@ryla/workflow';
import { createParser } from 'eventsource-parser';
import { z } from 'zod';

import type { Adapter, AdapterEvent, CallOptions, ProviderRef } from '../adapter.ts';
import { AssetCache } from '../asset-cache.ts';
import { ComfyUIServiceError, type ErrorCode, type ErrorContext } from '../errors.ts';
import { contentOf, contentTypeOf, type FileContent } from '../file-content.ts';
import {
  createHttpClient,
  excerpt,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  readJson,
  readText,
  retryAfter,
} from '../http.ts';
import type { JobFile, JobProgress, JobSnapshot, JobSubmission } from '../job.ts';
import { multipart } from '../multipart.ts';
import { JobOutput } from '../output.ts';
import { fetchForeign, remoteContent, type RemoteContentOptions } from '../remote-content.ts';
import { jsonOrUndefined, notAccepted, parsedAnswer } from './answer.ts';
import { codeOfWorker } from './worker-codes.ts';
import { measured, workerMetrics } from './worker-metrics.ts';

/** Options of {@link comfyApi}. */
export interface ComfyApiOptions {
  /** Address of the API without `/api/v2`; may hold a mount prefix. */
  readonly baseUrl: string;
  /** Headers that carry the credentials. They are sent to the base URL's origin only. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * Whether the server knows jobs by our id under /api/ryla (our gateway does): they are looked up there, and asked about, since
   * it also says there what the worker measured.
   */
  readonly lookup?: boolean;
  /** Largest input file in bytes; {@link COMFY_API_UPLOAD_BYTES} without it. */
  readonly maximumUploadBytes?: number;
  /** Whether files may be fetched from addresses that are not public, also over http. Default false. */
  readonly allowPrivateNetworks?: boolean;
  readonly http?: HttpClient;
  /** Milliseconds since 1970; replaced in tests. */
  readonly now?: () => number;
}

/** Bytes of one upload that the contract expects a server to take (its `POST /assets`: about 100 MB). */
export const COMFY_API_UPLOAD_BYTES = 100 * 1024 * 1024;

const status = z.enum(['queued', 'running', 'succeeded', 'canceling', 'canceled', 'failed', 'expired']);
const progress = z.object({
  value: z.number().min(0).max(1),
  nodes_done: z.number(),
  nodes_total: z.number(),
  current_node: z.string().nullish(),
  current_node_class: z.string().nullish(),
  step: z.number().nullish(),
  steps: z.number().nullish(),
});
const output = z.object({
  node_id: z.string(),
  name: z.string(),
  type: z.enum(['image', 'video', 'audio', 'text', 'file', 'latent']),
  content_type: z.string(),
  size_bytes: z.number().int().nonnegative(),
  id: z.string(),
  url: z.string(),
});
const jobError = z.object({
  code: z.string(),
  message: z.string(),
  node_id: z.string().nullish(),
  class_type: z.string().nullish(),
});
const job = z.object({
  id: z.string(),
  status,
  queue_position: z.number().nullish(),
  progress: progress.nullish(),
  outputs: z.array(output),
  error: jobError.nullish(),
  metrics: z.record(z.string(), z.number().nullable()).nullish(),
});
const rylaJob = z.object({ job, metrics: workerMetrics.nullable().catch(undefined) });
/** All that is needed of the answer to a submission. */
const submitted = z.object({ id: z.string() });
const asset = z.object({ id: z.string(), expires_at: z.string().nullish() });
const errorEnvelope = z.object({
  error: z.object({ code: z.string(), message: z.string(), details: z.unknown().optional() }),
});
const statusEvent = z.object({ status, queue_position: z.number().nullish() });
const previewEvent = z.object({
  node_id: z.string().nullish(),
  content_type: z.string(),
  data_base64: z.string(),
});

type Job = z.infer<typeof job>;

/** Codes of the API and its gateways that have another name here, or that no worker gives. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  forbidden: 'unauthorized',
  invalid_input: 'invalid_input',
  invalid_request: 'invalid_input',
  metadata_invalid: 'invalid_input',
  missing_asset: 'invalid_input_file',
  missing_input: 'missing_input',
  unauthorized: 'unauthorized',
  unknown_input: 'unknown_input',
  unsupported_media_type: 'invalid_input',
  untrusted_url: 'untrusted_url',
  workflow_format_ui: 'invalid_workflow',
};

function codeOf(code: string): ErrorCode {
  return codeOfWorker(code) ?? CODES[code] ?? 'backend_error';
}

/** An adapter for a server that speaks Comfy API v2. */
export function comfyApi(options: ComfyApiOptions): Adapter {
  const http = options.http ?? createHttpClient();
  const now = options.now ?? Date.now;
  const base = new URL(options.baseUrl.endsWith('/') ? options.baseUrl : `${options.baseUrl}/`);
  const credentials = options.headers ?? {};
  const allowPrivate = options.allowPrivateNetworks ?? false;
  const foreign = createHttpClient({ network: allowPrivate ? 'any' : 'public' });
  const remote: RemoteContentOptions = {
    own: { origin: base.origin, headers: credentials, http },
    foreign,
    allowHttp: allowPrivate,
  };
  // An input's address is a stranger's, even when it names the backend: its credentials are not for it.
  const fetch = fetchForeign({ foreign, allowHttp: allowPrivate });
  const assets = new AssetCache<string>(now);

  async function call(
    method: 'GET' | 'POST',
    path: string,
    { signal }: CallOptions,
    body?: HttpRequest['body'],
    headers: Readonly<Record<string, string>> = {},
  ): Promise<HttpResponse> {
    const response = await http.send({
      method,
      url: new URL(path, base),
      headers: { ...credentials, ...headers },
      ...(body === undefined ? {} : { body }),
      signal,
    });
    if (response.statusCode >= 200 && response.statusCode < 300) return response;
    throw await refusal(response, now());
  }

  async function readJob(response: HttpResponse): Promise<Job> {
    return parsed(job, await readJson(response));
  }

  function toOutput(description: z.infer<typeof output>): JobOutput {
    return new JobOutput(
      {
        nodeId: description.node_id,
        name: description.name,
        kind: description.type,
        contentType: description.content_type,
        size: description.size_bytes,
        sha256: undefined,
      },
      // Most outputs are looked at many times before they are read, if ever.
      (options) =>
        remoteContent(remote, {
          url: new URL(`api/v2/assets/${encodeURIComponent(description.id)}/content`, base).href,
          name: description.name,
          nodeId: description.node_id,
        })(options),
    );
  }

  async function upload(
    file: JobFile,
    content: FileContent,
    callOptions: CallOptions,
  ): Promise<{ readonly ref: string; readonly expiresAt: number | undefined }> {
    const contentType = contentTypeOf(file.name);
    const fields = { content_type: contentType, file_path: file.name, tags: 'input' };
    const part = { field: 'file', filename: file.name, contentType, content };
    const { headers, body } = multipart(fields, part, callOptions.signal);
    const response = await call('POST', 'api/v2/assets', callOptions, body, headers);
    const { id, expires_at: expiry } = parsed(asset, await readJson(response));
    const expiresAt = Date.parse(expiry ?? '');
    return { ref: id, expiresAt: Number.isNaN(expiresAt) ? undefined : expiresAt };
  }

  /** The assets of a job's files by the files' names, with the keys of those that an earlier job uploaded. */
  async function withUploads(
    files: readonly JobFile[],
    callOptions: CallOptions,
  ): Promise<{ readonly byName: ReadonlyMap<string, Json>; readonly reused: readonly string[] }> {
    const byName = new Map<string, Json>();
    const reused: string[] = [];
    const { signal } = callOptions;
    const maximumBytes = options.maximumUploadBytes ?? COMFY_API_UPLOAD_BYTES;
    for (const file of files) {
      const content = await contentOf(file.source, { signal, maximumBytes, fetch });
      // The name tells the kind, so the same bytes under another kind are another asset.
      const key = `${content.sha256} ${contentTypeOf(file.name)}`;
      const found = await assets.get(key, () => upload(file, content, callOptions), signal);
      if (found.reused) reused.push(key);
      byName.set(file.name, { __type: 'core/ASSET', info: { id: found.ref, file_path: file.name } });
    }
    return { byName, reused };
  }

  const adapter: Adapter = {
    async submit(submission, callOptions) {
      const { byName, reused } = await withUploads(submission.files, callOptions).catch(notAccepted);
      const json = JSON.stringify({ workflow: withAssets(submission, byName) });
      const headers = {
        'content-type': 'application/json',
        'idempotency-key': submission.jobId,
        'ryla-job-id': submission.jobId,
        ...(submission.traceparent === undefined ? {} : { traceparent: submission.traceparent }),
      };
      try {
        const answer = await call('POST', 'api/v2/jobs', callOptions, json, headers);
        return { id: parsed(submitted, await readJson(answer)).id };
      } catch (error) {
        if (!ComfyUIServiceError.isInstance(error) || error.code !== 'invalid_input_file') throw error;
        // The server may have dropped what an earlier job uploaded: the next attempt uploads it again.
        for (const key of reused) assets.forget(key);
        throw reused.length === 0 ? error : error.with({ retryable: true });
      }
    },
    async status(ref, callOptions) {
      return snapshotOf(await readJob(await call('GET', jobPath(ref), callOptions)), toOutput);
    },
    async cancel(ref, callOptions) {
      const response = await call('POST', `${jobPath(ref)}/cancel`, callOptions);
      await response.body.dump();
    },
    async *events(ref, { signal }) {
      const response = await http.send({
        method: 'GET',
        url: new URL(`${jobPath(ref)}/events`, base),
        headers: { ...credentials, accept: 'text/event-stream' },
        bodyTimeoutMs: 45_000,
        signal,
      });
      if (response.statusCode !== 200) throw await refusal(response, now());
      yield* parseEvents(response.body);
    },
    async close() {
      await Promise.all([http.close(), foreign.close()]);
    },
  };
  if (options.lookup !== true) return adapter;
  return {
    ...adapter,
    // Our gateway knows a job by our id, and says there what Comfy API v2 has no place for.
    async status(ref, callOptions) {
      const path = `api/ryla/jobs/${encodeURIComponent(ref['id'] ?? '')}`;
      const answer = parsed(rylaJob, await readJson(await call('GET', path, callOptions)));
      return { ...snapshotOf(answer.job, toOutput), ...measured(answer.metrics ?? undefined) };
    },
    async lookup(jobId, callOptions) {
      try {
        const response = await call('GET', `api/ryla/jobs/${encodeURIComponent(jobId)}`, callOptions);
        return { id: parsed(rylaJob, await readJson(response)).job.id };
      } catch (error) {
        if (ComfyUIServiceError.isInstance(error) && error.code === 'job_not_found') return undefined;
        throw error;
      }
    },
  };
}

function jobPath(ref: ProviderRef): string {
  return `api/v2/jobs/${encodeURIComponent(ref['id'] ?? '')}`;
}

/** Workflows are JSON by their guard. */
function asJson(value: object): { readonly [key: string]: Json } {
  return { ...value };
}

/** The workflow with its files' names replaced by their assets. */
function withAssets({ workflow }: JobSubmission, assets: ReadonlyMap<string, Json>): Json {
  if (assets.size === 0) return asJson(workflow);
  const changed: Record<string, Json> = {};
  for (const [nodeId, node] of Object.entries(workflow)) {
    const inputs = Object.entries(node.inputs).map(([name, value]): [string, Json] => [
      name,
      typeof value === 'string' ? (assets.get(value) ?? value) : value,
    ]);
    changed[nodeId] = { ...asJson(node), inputs: Object.fromEntries(inputs) };
  }
  return changed;
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  return parsedAnswer(schema, value, "The backend's answer");
}

function snapshotOf(answer: Job, toOutput: (description: z.infer<typeof output>) => JobOutput): JobSnapshot {
  const { metrics, error } = answer;
  return {
    status: answer.status,
    queuePosition: answer.queue_position ?? undefined,
    progress:
      answer.progress === null || answer.progress === undefined ? undefined : progressOf(answer.progress),
    outputs: answer.outputs.map(toOutput),
    error: error === null || error === undefined ? undefined : failureOf(error),
    timings: {
      queueMs: metrics?.['queue_ms'] ?? null,
      coldStartMs: metrics?.['cold_start_ms'] ?? null,
      executionMs: metrics?.['execution_ms'] ?? null,
    },
  };
}

function progressOf(answer: z.infer<typeof progress>): JobProgress {
  return {
    value: answer.value,
    nodesDone: answer.nodes_done,
    nodesTotal: answer.nodes_total,
    node: answer.current_node ?? undefined,
    nodeClass: answer.current_node_class ?? undefined,
    step: answer.step ?? undefined,
    steps: answer.steps ?? undefined,
  };
}

function failureOf(error: z.infer<typeof jobError>): ComfyUIServiceError {
  return new ComfyUIServiceError(codeOf(error.code), error.message, {
    nodeId: error.node_id ?? undefined,
    classType: error.class_type ?? undefined,
    details: { code: error.code },
  });
}

/** Turns an answer that is no success into an error. */
async function refusal(response: HttpResponse, now: number): Promise<ComfyUIServiceError> {
  const { statusCode } = response;
  const retryAfterMs = retryAfter(response, now);
  const text = await readText(response, 1 << 20).catch(() => '');
  const envelope = errorEnvelope.safeParse(jsonOrUndefined(text));
  const code = envelope.success ? envelope.data.error.code : '';
  const message = envelope.success ? envelope.data.error.message : excerpt(text) || `status ${statusCode}`;
  const details = envelope.success ? envelope.data.error.details : undefined;
  const context: ErrorContext = {
    details,
    retryAfterMs,
    nodeId: nodeOf(details),
    accepted: statusCode >= 500 ? 'unknown' : 'no',
    retryable: statusCode === 429 || statusCode >= 500,
  };
  if (statusCode === 401 || statusCode === 403) {
    const hint = 'Check the credentials of this backend.';
    return new ComfyUIServiceError('unauthorized', `The backend refused the credentials: ${message}`, {
      ...context,
      hint,
    });
  }
  if (statusCode === 404 && !envelope.success) {
    // Somebody else's 404: nothing is deployed at this address, or not at the moment. It says nothing about a job.
    return new ComfyUIServiceError('backend_error', `No Comfy API answers at this address: ${message}`, {
      ...context,
      retryable: true,
      hint: 'Check the address, and whether the endpoint is deployed.',
    });
  }
  if (statusCode === 404)
    return new ComfyUIServiceError('job_not_found', `The backend does not know this: ${message}`, context);
  if (statusCode === 429) return new ComfyUIServiceError('rate_limited', message, context);
  if (code === 'idempotency_key_reuse') {
    return new ComfyUIServiceError('submission_unknown', message, {
      ...context,
      accepted: 'unknown',
      retryable: true,
    });
  }
  if (statusCode === 413) return new ComfyUIServiceError('payload_too_large', message, context);
  return new ComfyUIServiceError(codeOf(code), message, context);
}

function nodeOf(details: unknown): string | undefined {
  const shape = z.object({ node_id: z.string() }).safeParse(details);
  if (shape.success) return shape.data.node_id;
  const errors = z.object({ node_errors: z.record(z.string(), z.unknown()) }).safeParse(details);
  return errors.success ? Object.keys(errors.data.node_errors)[0] : undefined;
}

/** Reads server-sent events; those of unknown kinds or shapes are passed over, as the contract asks. */
export async function* parseEvents(body: AsyncIterable<unknown>): AsyncGenerator<AdapterEvent> {
  const decoder = new TextDecoder();
  const ready: AdapterEvent[] = [];
  const parser = createParser({
    onEvent: ({ event, data }) => {
      const found = eventOf(event, jsonOrUndefined(data));
      if (found !== undefined) ready.push(found);
    },
  });
  let last: JobSnapshot['status'] = 'queued';
  try {
    for await (const piece of body) {
      if (!Buffer.isBuffer(piece)) continue;
      parser.feed(decoder.decode(piece, { stream: true }));
      for (const event of ready.splice(0)) {
        if (event.type === 'snapshot' && event.snapshot.progress === undefined) last = event.snapshot.status;
        yield event.type === 'snapshot' && event.snapshot.progress !== undefined
          ? {
              type: 'snapshot',
              snapshot: { ...event.snapshot, status: last === 'queued' ? 'running' : last },
            }
          : event;
      }
    }
  } catch (cause) {
    throw new ComfyUIServiceError('backend_unreachable', 'The event stream broke.', {
      cause,
      retryable: true,
    });
  }
}

function eventOf(kind: string | undefined, data: unknown): AdapterEvent | undefined {
  switch (kind) {
    case 'status': {
      const event = statusEvent.safeParse(data);
      if (!event.success) return undefined;
      const { status: state, queue_position } = event.data;
      return {
        type: 'snapshot',
        snapshot: { status: state, progress: undefined, queuePosition: queue_position ?? undefined },
      };
    }
    case 'progress': {
      const event = progress.safeParse(data);
      if (!event.success) return undefined;
      return {
        type: 'snapshot',
        snapshot: { status: 'running', progress: progressOf(event.data), queuePosition: undefined },
      };
    }
    case 'preview': {
      const event = previewEvent.safeParse(data);
      if (!event.success) return undefined;
      const bytes = Buffer.from(event.data.data_base64, 'base64');
      return {
        type: 'preview',
        node: event.data.node_id ?? undefined,
        contentType: event.data.content_type,
        bytes,
      };
    }
    case 'output': {
      const event = output.safeParse(data);
      return event.success
        ? { type: 'output', nodeId: event.data.node_id, name: event.data.name }
        : undefined;
    }
    default:
      return undefined;
  }
}
