/**
 * RunComfy serverless deployments: submit, status, result, cancel. Only the wire, by RunComfy's documentation and its
 * published clients (docs/backends.md says which facts); no account of it was used.
 */
import type { ApiWorkflow, Json } from '@ryla/workflow';
import { z } from 'zod';

import type { Adapter, CallOptions, ProviderRef } from '../adapter.ts';
import { ComfyUIServiceError } from '../errors.ts';
import { bytesOf, contentOf, contentTypeOf } from '../file-content.ts';
import { createHttpClient, type HttpClient, type HttpResponse, readJson } from '../http.ts';
import { type JobFile, type JobSnapshot, type JobStatus, type JobSubmission, NOTHING_KNOWN } from '../job.ts';
import { JobOutput, type OpenContent } from '../output.ts';
import {
  fetchForeign,
  type FetchForeign,
  remoteContent,
  type RemoteContentOptions,
} from '../remote-content.ts';
import { notAccepted, parsedAnswer } from './answer.ts';
import { type ReportedOutput, reportedOutputs } from './comfyui-outputs.ts';
import { failureOf, refusal, refusalIn } from './runcomfy-errors.ts';
import { type Overrides, overridesOf } from './runcomfy-overrides.ts';

/** RunComfy's serverless API. */
export const RUNCOMFY_API_URL = 'https://api.runcomfy.net';

/** Milliseconds that a result is kept (docs.runcomfy.com/serverless/webhooks: deleted after 7 days, read 2026-11-25). */
export const RUNCOMFY_RETENTION_MS = 7 * 24 * 60 * 60 * 1000;

/**
 * Bytes of a job's files together that are sent inside the request. RunComfy publishes no limit and advises against large
 * files there; this one is ours, as large as RunPod's.
 */
export const RUNCOMFY_INLINE_BYTES = 10 * 1024 * 1024;

/** Options of {@link runcomfy}. */
export interface RunComfyOptions {
  readonly deploymentId: string;
  readonly apiKey: string;
  /** Address of the API in front of /prod. Default {@link RUNCOMFY_API_URL}. */
  readonly apiUrl?: string;
  /**
   * The workflow that is saved with the deployment, its `workflow_api.json`: only inputs that differ are sent then, as
   * `overrides`, and a job with other nodes or links is refused. Without it every job brings its whole workflow, whose nodes
   * and models the deployment must have.
   */
  readonly saved?: ApiWorkflow;
  /** Whether files may be fetched from addresses that are not public, also over http. Default false. */
  readonly allowPrivateNetworks?: boolean;
  readonly http?: HttpClient;
  /** Milliseconds since 1970; replaced in tests. */
  readonly now?: () => number;
}

const submitted = z.object({ request_id: z.string().min(1) });
/** `completed` is in the status, `succeeded` and `failed` in the result; webhooks and the LoRA deployments mix them. */
const state = z.enum([
  'in_queue',
  'in_progress',
  'completed',
  'succeeded',
  'failed',
  'cancelled',
  'canceled',
  'cancellation_requested',
]);
const statusAnswer = z.object({ status: state, queue_position: z.number().nullish() });
const resultAnswer = z.object({
  status: state,
  outputs: z.record(z.string(), z.record(z.string(), z.unknown()).catch({})).nullish(),
  error: z.unknown().optional(),
});
const deployment = z.object({ is_enabled: z.boolean().nullish() });

const STATUS: Readonly<Record<z.infer<typeof state>, JobStatus>> = {
  in_queue: 'queued',
  in_progress: 'running',
  completed: 'succeeded',
  succeeded: 'succeeded',
  failed: 'failed',
  cancelled: 'canceled',
  canceled: 'canceled',
  cancellation_requested: 'canceling',
};

/**
 * An adapter for one RunComfy deployment. RunComfy has no look-up by our id and runs what is sent twice twice, so this has
 * neither `lookup` nor `resubmit`; it tells neither progress nor timings nor the card.
 */
export function runcomfy(options: RunComfyOptions): Adapter {
  const http = options.http ?? createHttpClient();
  const now = options.now ?? Date.now;
  const allowPrivate = options.allowPrivateNetworks ?? false;
  const foreign = createHttpClient({ network: allowPrivate ? 'any' : 'public' });
  const remote: RemoteContentOptions = { foreign, allowHttp: allowPrivate };
  const fetch = fetchForeign(remote);
  const origin = (options.apiUrl ?? RUNCOMFY_API_URL).replace(/\/$/, '');
  const id = encodeURIComponent(options.deploymentId);

  async function call(
    method: 'GET' | 'POST',
    path: string,
    { signal }: CallOptions,
    body?: string,
  ): Promise<unknown> {
    const response: HttpResponse = await http.send({
      method,
      url: new URL(`${origin}/prod/${path}`),
      headers: {
        authorization: `Bearer ${options.apiKey}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body }),
      signal,
    });
    if (response.statusCode < 200 || response.statusCode >= 300) throw await refusal(response, now());
    const answer = await readJson(response);
    // Some errors come with status 200.
    const refused = refusalIn(answer);
    if (refused !== undefined) throw refused;
    return answer;
  }

  const request = (ref: ProviderRef, what: 'status' | 'result' | 'cancel'): string =>
    `v1/deployments/${id}/requests/${encodeURIComponent(ref['id'] ?? '')}/${what}`;

  return {
    async submit(job, callOptions) {
      const body = await requestBody(job, options, fetch, callOptions.signal).catch(notAccepted);
      const query = job.webhookUrl === undefined ? '' : `?webhook=${encodeURIComponent(job.webhookUrl)}`;
      const path = `v1/deployments/${id}/inference${query}`;
      const answer = await call('POST', path, callOptions, body).catch((error: unknown) => {
        throw unknownDeployment(error, options.deploymentId);
      });
      return { id: parsed(submitted, answer).request_id };
    },
    async status(ref, callOptions) {
      const answer = parsed(statusAnswer, await call('GET', request(ref, 'status'), callOptions));
      const status = STATUS[answer.status];
      if (status !== 'succeeded' && status !== 'failed')
        return { ...NOTHING_KNOWN, status, queuePosition: answer.queue_position ?? undefined };
      // What is completed has succeeded or failed: the result tells.
      const result = parsed(resultAnswer, await call('GET', request(ref, 'result'), callOptions));
      return ended(result, (output) => contentOfOutput(remote, output));
    },
    async cancel(ref, callOptions) {
      try {
        // One that has ended answers `not_cancellable`; its status tells.
        await call('POST', request(ref, 'cancel'), callOptions);
      } catch (error) {
        if (!(ComfyUIServiceError.isInstance(error) && error.code === 'job_not_found')) throw error;
      }
    },
    async health(callOptions) {
      const answer = await call('GET', `v2/deployments/${id}`, callOptions).catch((error: unknown) => {
        throw unknownDeployment(error, options.deploymentId);
      });
      if (parsed(deployment, answer).is_enabled === false) {
        throw new ComfyUIServiceError('backend_error', `Deployment ${options.deploymentId} is disabled.`, {
          hint: 'Enable it on RunComfy.',
        });
      }
      return { queued: undefined, running: undefined, idleWorkers: undefined };
    },
    retentionMs: RUNCOMFY_RETENTION_MS,
    provider: 'runcomfy',
    async close() {
      await Promise.all([http.close(), foreign.close()]);
    },
  };
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  return parsedAnswer(schema, value, "RunComfy's answer");
}

/** What is not found before there is a request is the deployment. */
function unknownDeployment(error: unknown, deploymentId: string): unknown {
  if (!ComfyUIServiceError.isInstance(error) || error.code !== 'job_not_found') return error;
  return new ComfyUIServiceError('backend_error', `RunComfy knows no deployment ${deploymentId}.`, {
    accepted: 'no',
    cause: error,
    hint: 'Check the deployment id, and that the API key belongs to the account that owns it.',
  });
}

async function requestBody(
  job: JobSubmission,
  options: RunComfyOptions,
  fetch: FetchForeign,
  signal: AbortSignal,
): Promise<string> {
  const workflow = withFiles(job.workflow, await values(job.files, fetch, signal));
  const body: { overrides: Overrides } | { workflow_api_json: ApiWorkflow } =
    options.saved === undefined
      ? { workflow_api_json: workflow }
      : { overrides: overridesOf(options.saved, workflow) };
  return JSON.stringify(body);
}

/** What stands for each file: its https address, or its content as a data URI. */
async function values(
  files: readonly JobFile[],
  fetch: FetchForeign,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  let left = RUNCOMFY_INLINE_BYTES;
  for (const { name, source } of files) {
    if ('url' in source && URL.canParse(source.url) && new URL(source.url).protocol === 'https:') {
      found.set(name, source.url);
      continue;
    }
    const content = await contentOf(source, { signal, maximumBytes: RUNCOMFY_INLINE_BYTES, fetch });
    left -= content.size;
    if (left < 0) {
      throw new ComfyUIServiceError(
        'payload_too_large',
        `The job's files are larger than ${RUNCOMFY_INLINE_BYTES / 1024 / 1024} MiB together, which is what goes into a request to RunComfy.`,
        {
          hint: 'Give files by an https address that anybody may read, or use a backend that takes uploads.',
        },
      );
    }
    const data = Buffer.from(await bytesOf(content, signal)).toString('base64');
    found.set(name, `data:${contentTypeOf(name)};base64,${data}`);
  }
  return found;
}

/** The workflow with its files' names replaced by what stands for them. */
function withFiles(workflow: ApiWorkflow, files: ReadonlyMap<string, string>): ApiWorkflow {
  if (files.size === 0) return workflow;
  const nodes = Object.entries(workflow).map(([nodeId, node]) => {
    const inputs = Object.entries(node.inputs).map(([name, value]): [string, Json] => [
      name,
      typeof value === 'string' ? (files.get(value) ?? value) : value,
    ]);
    return [nodeId, { ...node, inputs: Object.fromEntries(inputs) }] as const;
  });
  return Object.fromEntries(nodes);
}

function ended(
  { status, outputs, error }: z.infer<typeof resultAnswer>,
  contentOfOne: (output: ReportedOutput) => OpenContent,
): JobSnapshot {
  const found = STATUS[status];
  if (found === 'failed') return { ...NOTHING_KNOWN, status: found, error: failureOf(error) };
  if (found !== 'succeeded') return { ...NOTHING_KNOWN, status: found };
  const reports = Object.entries(outputs ?? {});
  const made = reports.flatMap(([nodeId, report]) => reportedOutputs(nodeId, withNames(report)));
  return { ...NOTHING_KNOWN, status: found, outputs: made.map((each) => toOutput(each, contentOfOne(each))) };
}

const address = z.union([z.url().transform((url) => ({ url })), z.looseObject({ url: z.url() })]);

/** A node's report in which every file has a name: RunComfy's addresses end with it. */
function withNames(report: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const named = (value: unknown): unknown => {
    const found = address.safeParse(value);
    if (!found.success) return value;
    return { filename: new URL(found.data.url).pathname.split('/').at(-1) ?? '', ...found.data };
  };
  return Object.fromEntries(
    Object.entries(report).map(([key, entries]) => [
      key,
      Array.isArray(entries) && key !== 'text' ? entries.map(named) : entries,
    ]),
  );
}

function toOutput(
  { nodeId, name, kind, contentType, content }: ReportedOutput,
  open: OpenContent,
): JobOutput {
  const size = 'text' in content ? Buffer.byteLength(content.text) : undefined;
  return new JobOutput({ nodeId, name, kind, contentType, size, sha256: undefined }, open);
}

/** Hosted by RunComfy for anybody who has the address: our key is not for it. */
function contentOfOutput(
  remote: RemoteContentOptions,
  { nodeId, name, content }: ReportedOutput,
): OpenContent {
  if ('text' in content) {
    const bytes = Buffer.from(content.text);
    return async function* ({ signal, offset }) {
      signal.throwIfAborted();
      yield await Promise.resolve(bytes.subarray(offset));
    };
  }
  const { url } = content;
  if (url !== undefined) return remoteContent(remote, { url, name, nodeId });
  return () => {
    throw new ComfyUIServiceError('output_missing', `RunComfy gave no address for ${name}.`, { nodeId });
  };
}
