/**
 * The one-call form of apps that are deployed on Modal already: `POST <url> {workflow_json}` answers with pictures in
 * base64 when the job has ended; Modal cuts the wait at 150 s with a 303 to an address that is asked instead.
 */
import { z } from 'zod';

import type { Adapter, CallOptions, ProviderRef } from '../adapter.ts';
import { untilAborted } from '../asset-cache.ts';
import type { Base64Json } from '../base64-json.ts';
import { ComfyUIServiceError, type ErrorCode } from '../errors.ts';
import { contentTypeOf } from '../file-content.ts';
import {
  createHttpClient,
  excerpt,
  type HttpClient,
  type HttpResponse,
  readBase64Json,
  readText,
  retryAfter,
} from '../http.ts';
import { type JobSnapshot, type JobSubmission, NOTHING_KNOWN } from '../job.ts';
import { LruMap } from '../lru-map.ts';
import { JobOutput } from '../output.ts';
import { jsonOrUndefined } from './answer.ts';
import { type ModalAuth, modalHeaders } from './modal.ts';

/** Options of {@link generateImage}. */
export interface GenerateImageOptions {
  /** Address of the function, such as https://acme--ryla-comfyui-generate-image.modal.run. */
  readonly url: string;
  readonly auth: ModalAuth;
  /** How the function takes the workflow: as a JSON object (default), or as the text of one. */
  readonly workflowAs?: 'object' | 'text';
  /**
   * Milliseconds in which a refusal (wrong credentials, a wrong workflow) is still an error of `submit`; the job goes
   * on afterwards and `status` tells. Default 5,000.
   */
  readonly acceptanceMs?: number;
  readonly http?: HttpClient;
  /** Milliseconds since 1970; replaced in tests. */
  readonly now?: () => number;
}

/** Milliseconds that an answer may take: Modal cuts at 150 s. */
const ANSWER_MS = 170_000;

/** Ended jobs whose results are kept for whoever asks. */
const KEPT_RESULTS = 64;

const picture = z.object({
  data: z.string(),
  filename: z.string().nullish(),
  contentType: z.string().nullish(),
  nodeId: z.string().nullish(),
});
const answer = z.union([
  z.object({ images: z.array(z.union([picture, z.string()])), image: z.string().nullish() }),
  z.object({ image: z.string().nullable() }),
]);
const failure = z.object({
  error: z.union([
    z.string(),
    z.object({
      code: z.string(),
      message: z.string(),
      details: z.object({ jobId: z.string().nullish(), node_id: z.string().nullish() }).nullish().catch(null),
    }),
  ]),
});
const frameworkFailure = z.object({ detail: z.unknown() });

/** Codes of our function that tell how a job ended; everything else refuses the request. */
const JOB_FAILURES = new Map<string, ErrorCode>([
  ['canceled', 'canceled'],
  ['engine_crashed', 'engine_crashed'],
  ['engine_unavailable', 'engine_unavailable'],
  ['invalid_input_file', 'invalid_input_file'],
  ['node_execution_error', 'node_execution_error'],
  ['out_of_memory', 'out_of_memory'],
  ['output_missing', 'output_missing'],
  ['payload_too_large', 'payload_too_large'],
  ['timed_out', 'timed_out'],
  ['worker_lost', 'worker_lost'],
]);

/** A call whose answer is not here. */
interface OpenCall {
  readonly hangUp: AbortController;
  /** Where Modal keeps the call, once it has cut the first request; nobody can stop it from here then. */
  kept: URL | undefined;
  /** Why the last look at `kept` failed, until it is told. */
  failure: { readonly error: unknown } | undefined;
  /** Whether `submit` has returned, so that what goes wrong is for `status` to tell. */
  isSubmitted: boolean;
}

/**
 * An adapter for the one-call form. It has no look-up, takes no files, and knows its jobs only as long as this process
 * lives: for new deployments use `modal`. A job can be canceled while its first request is open (our function cancels
 * the job of a caller who hangs up), not after; closing the adapter hangs up.
 */
export function generateImage(options: GenerateImageOptions): Adapter {
  const http = options.http ?? createHttpClient();
  const now = options.now ?? Date.now;
  const endpoint = new URL(options.url);
  const credentials = modalHeaders(options.auth);
  const open = new Map<string, OpenCall>();
  const ended = new LruMap<string, JobSnapshot>(KEPT_RESULTS);

  function end(id: string, snapshot: JobSnapshot): void {
    open.delete(id);
    ended.set(id, snapshot);
  }

  async function send(call: OpenCall, url: URL, body?: string): Promise<HttpResponse> {
    return http.send({
      method: body === undefined ? 'GET' : 'POST',
      url,
      headers: { ...credentials, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body }),
      signal: call.hangUp.signal,
      headersTimeoutMs: ANSWER_MS,
    });
  }

  /** The first request, until it is answered, refused or cut. */
  async function post(job: JobSubmission, call: OpenCall): Promise<void> {
    const workflow = options.workflowAs === 'text' ? JSON.stringify(job.workflow) : job.workflow;
    const body = JSON.stringify({ workflow_json: workflow });
    try {
      await take(job.jobId, call, await send(call, endpoint, body));
    } catch (error) {
      if (ended.get(job.jobId) !== undefined) return;
      if (!call.isSubmitted) {
        open.delete(job.jobId);
        throw error;
      }
      end(job.jobId, { ...NOTHING_KNOWN, status: 'failed', error: resultLost(error) });
      return;
    }
    if (call.kept !== undefined) void poll(job.jobId, call);
  }

  /** Looks at the kept call until it has ended; a look that fails is told by the next `status`, which looks again. */
  async function poll(id: string, call: OpenCall): Promise<void> {
    try {
      while (open.get(id) === call && call.kept !== undefined)
        await take(id, call, await send(call, call.kept));
    } catch (error) {
      call.failure = { error };
    }
  }

  async function take(id: string, call: OpenCall, response: HttpResponse): Promise<void> {
    const { statusCode } = response;
    const { location } = response.headers;
    if (statusCode === 303 && typeof location === 'string') {
      await response.body.dump();
      const url = new URL(location, endpoint);
      // Our credentials go along.
      if (url.origin !== endpoint.origin)
        throw new ComfyUIServiceError('untrusted_url', `Modal kept the call at another host, ${url.host}.`, {
          accepted: 'unknown',
        });
      call.kept = url;
    } else if (statusCode === 200) {
      end(id, succeeded(await readBase64Json(response)));
    } else {
      const failed = await failureOf(response, now());
      if (!failed.isOfJob) throw failed.error;
      const status = failed.error.code === 'canceled' ? 'canceled' : 'failed';
      end(id, { ...NOTHING_KNOWN, status, error: status === 'failed' ? failed.error : undefined });
    }
  }

  return {
    async submit(job, { signal }) {
      signal.throwIfAborted();
      const { jobId } = job;
      if (job.files.length > 0) throw noFiles(jobId);
      if (open.has(jobId) || ended.get(jobId) !== undefined)
        throw new ComfyUIServiceError('submission_unknown', `Job ${jobId} was submitted before.`, {
          accepted: 'unknown',
        });
      const call: OpenCall = {
        hangUp: new AbortController(),
        kept: undefined,
        failure: undefined,
        isSubmitted: false,
      };
      open.set(jobId, call);
      const posted = post(job, call);
      const grace = setTimeout(() => accepted.resolve(undefined), options.acceptanceMs ?? 5_000);
      const accepted = Promise.withResolvers<undefined>();
      try {
        await untilAborted(Promise.race([posted, accepted.promise]), signal);
      } catch (error) {
        call.hangUp.abort(error);
        open.delete(jobId);
        throw error;
      } finally {
        clearTimeout(grace);
      }
      call.isSubmitted = true;
      posted.catch(() => undefined);
      return { id: jobId };
    },
    async status(ref, { signal }) {
      await Promise.resolve();
      signal.throwIfAborted();
      const id = idOf(ref);
      const snapshot = ended.get(id);
      if (snapshot !== undefined) return snapshot;
      const call = open.get(id);
      if (call === undefined)
        throw new ComfyUIServiceError('job_not_found', `Job ${id} is not known here.`, {
          hint: 'This form of deployment keeps nothing: only the process that submitted a job knows it.',
        });
      if (call.failure !== undefined) {
        const { error } = call.failure;
        call.failure = undefined;
        void poll(id, call);
        throw error;
      }
      return { ...NOTHING_KNOWN, status: 'running' };
    },
    async cancel(ref, { signal }: CallOptions) {
      await Promise.resolve();
      signal.throwIfAborted();
      const call = open.get(idOf(ref));
      if (call === undefined) return;
      if (call.kept !== undefined)
        throw new ComfyUIServiceError(
          'not_supported',
          'A call that Modal has detached cannot be canceled from here.',
          {
            hint: 'Stop it in Modal, or deploy the API and use the modal adapter.',
          },
        );
      end(idOf(ref), { ...NOTHING_KNOWN, status: 'canceled' });
      call.hangUp.abort(new Error('canceled'));
    },
    provider: 'modal',
    async close() {
      for (const call of open.values()) call.hangUp.abort(new Error('closed'));
      open.clear();
      await http.close();
    },
  };
}

function idOf(ref: ProviderRef): string {
  return ref['id'] ?? '';
}

function noFiles(jobId: string): ComfyUIServiceError {
  return new ComfyUIServiceError('not_supported', 'The one-call form takes no files.', {
    jobId,
    accepted: 'no',
    hint: 'Deploy the API of apps/modal and use the modal adapter, which uploads files.',
  });
}

function succeeded({ value, content }: Base64Json): JobSnapshot {
  const parsed = answer.safeParse(value);
  if (!parsed.success) {
    const message = 'The function answered without pictures.';
    return { ...NOTHING_KNOWN, status: 'failed', error: new ComfyUIServiceError('output_missing', message) };
  }
  const found =
    'images' in parsed.data ? parsed.data.images : [parsed.data.image].filter((image) => image !== null);
  return {
    ...NOTHING_KNOWN,
    status: 'succeeded',
    outputs: found.map((entry, index) => toOutput(entry, index, content)),
  };
}

function toOutput(
  entry: z.infer<typeof picture> | string,
  index: number,
  content: Base64Json['content'],
): JobOutput {
  const { data, filename, contentType, nodeId } = typeof entry === 'string' ? { data: entry } : entry;
  const name = filename ?? `image-${index}.png`;
  const type = contentType ?? contentTypeOf(name);
  const description = { nodeId: nodeId ?? '', name, kind: 'image', contentType: type } as const;
  return new JobOutput({ ...description, size: undefined, sha256: undefined }, content(data, name));
}

/** The connection broke after the job was taken: what it made cannot be had, and whether it ran is not known. */
function resultLost(cause: unknown): ComfyUIServiceError {
  if (ComfyUIServiceError.isInstance(cause) && cause.code !== 'backend_unreachable') return cause;
  return new ComfyUIServiceError(
    'submission_unknown',
    'The connection broke before the answer; the job may have run.',
    {
      cause,
      hint: 'This form of deployment has no look-up: a job that is sent again may be paid twice.',
    },
  );
}

/** Reads an answer that is no success: the end of a job, or the refusal of a request. */
async function failureOf(
  response: HttpResponse,
  now: number,
): Promise<{ readonly isOfJob: boolean; readonly error: ComfyUIServiceError }> {
  const { statusCode } = response;
  const retryAfterMs = retryAfter(response, now);
  const text = await readText(response, 1 << 20).catch(() => '');
  const told = failure.safeParse(jsonOrUndefined(text));
  const ours = told.success && typeof told.data.error === 'object' ? told.data.error : undefined;
  const nodeId = ours?.details?.node_id ?? undefined;
  const code = JOB_FAILURES.get(ours?.code ?? '');
  if (ours !== undefined && code !== undefined && statusCode >= 500)
    return { isOfJob: true, error: new ComfyUIServiceError(code, ours.message, { nodeId }) };
  const message = ours?.message ?? plainMessage(text, told.success ? told.data.error : undefined, statusCode);
  const error = new ComfyUIServiceError(refusalCode(statusCode, ours?.code), message, {
    nodeId,
    retryAfterMs,
    accepted: statusCode >= 500 ? 'unknown' : 'no',
    retryable: statusCode === 429 || statusCode >= 500,
    hint: statusCode === 401 || statusCode === 403 ? 'Check the credentials of this backend.' : undefined,
  });
  return { isOfJob: false, error };
}

function plainMessage(text: string, error: unknown, statusCode: number): string {
  if (typeof error === 'string') return error;
  const framework = frameworkFailure.safeParse(jsonOrUndefined(text));
  if (framework.success) return excerpt(JSON.stringify(framework.data.detail));
  return excerpt(text) || `The function answered with status ${statusCode}.`;
}

function refusalCode(statusCode: number, code: string | undefined): ErrorCode {
  switch (statusCode) {
    case 401:
    case 403:
      return 'unauthorized';
    case 413:
      return 'payload_too_large';
    case 429:
      return 'rate_limited';
    case 410:
      return 'result_expired';
    case 422:
      return code === 'invalid_request' ? 'invalid_input' : 'invalid_workflow';
    default:
      return statusCode === 400 ? 'invalid_input' : 'backend_error';
  }
}
