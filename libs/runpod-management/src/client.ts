import { setTimeout as sleepFor } from 'node:timers/promises';

import { z } from 'zod';

import { RunPodManagementError } from './runpod-error.ts';
import {
  endpoint,
  type EndpointCreation,
  type EndpointUpdate,
  gpuType,
  networkVolume,
  networkVolumeBilling,
  pod,
  releases,
  type RunPodEndpoint,
  type RunPodGpuType,
  type RunPodNetworkVolume,
  type RunPodNetworkVolumeBilling,
  type RunPodPod,
  type RunPodReleases,
  type RunPodServerlessBilling,
  type RunPodTemplate,
  serverlessBilling,
  template,
} from './schemas.ts';
import { createTransport, type WireAnswer } from './transport.ts';
import { type LogSource, readWorkerLog, type WorkerLogLine, type WorkerLogOptions } from './worker-logs.ts';
import { workerList, type RunPodWorkers } from './workers.ts';

/** RunPod's management API (contracts of 2026-11-24; `rest.runpod.io/v1` retired on 2026-11-15). */
export const RUNPOD_MANAGEMENT_URL = 'https://api.runpod.io/v2';

/** Milliseconds that one request may take. */
export const REQUEST_TIMEOUT_MS = 60_000;

/** How often a request is sent at most. */
export const ATTEMPTS = 4;

/** Longest wait that a Retry-After may ask for, in milliseconds: RunPod's shortest window is a minute. */
export const LONGEST_RETRY_AFTER_MS = 65_000;

const FIRST_PAUSE_MS = 500;

/** Options of {@link createRunPodManagement}. */
export interface RunPodManagementOptions {
  readonly apiKey: string;
  /** Address up to `/v2`; {@link RUNPOD_MANAGEMENT_URL} without it. Plain http only for this machine. */
  readonly baseUrl?: string;
  /** {@link REQUEST_TIMEOUT_MS} without it. */
  readonly timeoutMs?: number;
  /** {@link ATTEMPTS} without it. */
  readonly attempts?: number;
  /** Waits between two attempts; for tests. */
  readonly sleep?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
  /** A number in [0, 1) that spreads the waits; for tests. */
  readonly random?: () => number;
}

/** What every call takes. */
export interface CallOptions {
  readonly signal?: AbortSignal;
}

/** The window of a bill: the last buckets, or from and to. Without any, the last 30 days. */
export interface BillingWindow {
  readonly startTime?: Date;
  readonly endTime?: Date;
  readonly lastN?: number;
  readonly bucketSize?: 'hour' | 'day' | 'week' | 'month' | 'year';
}

/** RunPod's management API. Reads are repeated when they fail; a write is repeated only when it was certainly not done. */
export interface RunPodManagement extends AsyncDisposable {
  readonly baseUrl: string;
  listEndpoints(options?: CallOptions): Promise<readonly RunPodEndpoint[]>;
  getEndpoint(id: string, options?: CallOptions): Promise<RunPodEndpoint>;
  createEndpoint(body: EndpointCreation, options?: CallOptions): Promise<RunPodEndpoint>;
  updateEndpoint(id: string, body: EndpointUpdate, options?: CallOptions): Promise<RunPodEndpoint>;
  /** Ends its workers and its jobs; cannot be undone. */
  deleteEndpoint(id: string, options?: CallOptions): Promise<void>;
  listReleases(id: string, options?: CallOptions): Promise<RunPodReleases>;
  /** The active workers; those that were scaled down are gone. */
  listWorkers(id: string, options?: CallOptions): Promise<RunPodWorkers>;
  /** What an active worker prints, line by line. */
  workerLog(id: string, workerId: string, options?: WorkerLogOptions): AsyncIterable<WorkerLogLine>;
  listTemplates(options?: CallOptions): Promise<readonly RunPodTemplate[]>;
  getTemplate(id: string, options?: CallOptions): Promise<RunPodTemplate>;
  /** Refused (`invalid_request`) while a pod or an endpoint is bound to it; cannot be undone. */
  deleteTemplate(id: string, options?: CallOptions): Promise<void>;
  listNetworkVolumes(options?: CallOptions): Promise<readonly RunPodNetworkVolume[]>;
  getNetworkVolume(id: string, options?: CallOptions): Promise<RunPodNetworkVolume>;
  /** Deletes its files, whoever mounts it: the document names no reason to refuse. Cannot be undone. */
  deleteNetworkVolume(id: string, options?: CallOptions): Promise<void>;
  /** Every pod, those of clusters too. */
  listPods(options?: CallOptions): Promise<readonly RunPodPod[]>;
  /** The catalogue; `availability` adds today's serverless stock. */
  listGpuTypes(
    options?: CallOptions & { readonly availability?: boolean },
  ): Promise<readonly RunPodGpuType[]>;
  serverlessBilling(
    options?: CallOptions & BillingWindow & { readonly endpointId?: string },
  ): Promise<RunPodServerlessBilling>;
  networkVolumeBilling(
    options?: CallOptions & BillingWindow & { readonly networkVolumeId?: string },
  ): Promise<RunPodNetworkVolumeBilling>;
  close(): Promise<void>;
}

/**
 * A client of RunPod's management API.
 *
 * @throws {RunPodManagementError} `invalid_settings` for an API key that no header can hold, or an address that would
 *   send it unencrypted over a network.
 */
export function createRunPodManagement(options: RunPodManagementOptions): RunPodManagement {
  const base = checkedBase(options);
  const transport = createTransport(options.apiKey);
  const attempts = options.attempts ?? ATTEMPTS;
  const random = options.random ?? Math.random;
  const sleep = options.sleep ?? ((milliseconds, signal) => sleepFor(milliseconds, undefined, { signal }));

  async function call<Schema extends z.ZodType>(
    operation: string,
    method: 'GET' | 'POST' | 'PATCH' | 'DELETE',
    path: string,
    schema: Schema,
    { signal = new AbortController().signal, body, query = {} }: Call = {},
  ): Promise<z.infer<Schema>> {
    const wire = {
      operation,
      method,
      url: address(path, query),
      signal,
      timeoutMs: options.timeoutMs ?? REQUEST_TIMEOUT_MS,
      ...(body === undefined ? {} : { body }),
    };
    for (let attempt = 1; ; attempt += 1) {
      try {
        return read(operation, schema, await transport.send(wire), method !== 'GET');
      } catch (error) {
        const pause = attempt < attempts ? pauseBefore(error, attempt, method === 'GET', random) : undefined;
        if (pause === undefined) throw error;
        await sleep(pause, signal).catch((cause: unknown) => {
          throw signal.aborted ? signal.reason : cause;
        });
      }
    }
  }

  function address(path: string, query: Readonly<Record<string, string | undefined>>): URL {
    const url = new URL(`${base}/${path}`);
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, value);
    return url;
  }

  const one = (collection: string, id: string, rest = ''): string =>
    `${collection}/${encodeURIComponent(checkedId(id))}${rest}`;
  const logSource = (id: string, workerId: string): LogSource => ({
    open: ({ query, lastEventId, signal }) =>
      transport.stream({
        operation: 'getWorkerLogs',
        method: 'GET',
        url: address(`${one('serverless', id)}/${one('workers', workerId, '/logs')}`, query),
        signal,
        timeoutMs: options.timeoutMs ?? REQUEST_TIMEOUT_MS,
        lastEventId,
      }),
    pause: (attempt, signal) =>
      sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1), signal).catch((cause: unknown) => {
        throw signal.aborted ? signal.reason : cause;
      }),
  });
  const client: RunPodManagement = {
    baseUrl: base,
    listEndpoints: async (more) =>
      (await call('listEndpoints', 'GET', 'serverless', z.object({ endpoints: z.array(endpoint) }), more))
        .endpoints,
    getEndpoint: (id, more) => call('getEndpoint', 'GET', one('serverless', id), endpoint, more),
    createEndpoint: (body, more) => call('createEndpoint', 'POST', 'serverless', endpoint, { ...more, body }),
    updateEndpoint: (id, body, more) =>
      call('updateEndpoint', 'PATCH', one('serverless', id), endpoint, { ...more, body }),
    deleteEndpoint: async (id, more) => {
      await call('deleteEndpoint', 'DELETE', one('serverless', id), z.unknown(), more);
    },
    listReleases: (id, more) =>
      call('listEndpointReleases', 'GET', one('serverless', id, '/releases'), releases, more),
    listWorkers: (id, more) =>
      call('listEndpointWorkers', 'GET', one('serverless', id, '/workers'), workerList, more),
    workerLog: (id, workerId, more) => readWorkerLog(logSource(id, workerId), more),
    listTemplates: async (more) =>
      (await call('listTemplates', 'GET', 'templates', z.object({ templates: z.array(template) }), more))
        .templates,
    getTemplate: (id, more) => call('getTemplate', 'GET', one('templates', id), template, more),
    deleteTemplate: async (id, more) => {
      await call('deleteTemplate', 'DELETE', one('templates', id), z.unknown(), more);
    },
    listNetworkVolumes: async (more) =>
      (
        await call(
          'listNetworkVolumes',
          'GET',
          'network-volumes',
          z.object({ networkVolumes: z.array(networkVolume) }),
          more,
        )
      ).networkVolumes,
    getNetworkVolume: (id, more) =>
      call('getNetworkVolume', 'GET', one('network-volumes', id), networkVolume, more),
    deleteNetworkVolume: async (id, more) => {
      await call('deleteNetworkVolume', 'DELETE', one('network-volumes', id), z.unknown(), more);
    },
    listPods: async (more) =>
      (
        await call('listPods', 'GET', 'pods', z.object({ pods: z.array(pod) }), {
          ...more,
          query: { includeClusterPods: 'true' },
        })
      ).pods,
    listGpuTypes: async (more) =>
      (
        await call('listGpuTypes', 'GET', 'catalog/gpus', z.object({ gpus: z.array(gpuType) }), {
          ...more,
          query: more?.availability === true ? { include: 'AVAILABILITY', product: 'SERVERLESS' } : {},
        })
      ).gpus,
    serverlessBilling: (more) =>
      call('getServerlessBilling', 'GET', 'billing/serverless', serverlessBilling, {
        ...more,
        query: { ...window(more), serverlessId: more?.endpointId },
      }),
    networkVolumeBilling: (more) =>
      call('getNetworkVolumeBilling', 'GET', 'billing/network-volumes', networkVolumeBilling, {
        ...more,
        query: { ...window(more), networkVolumeId: more?.networkVolumeId },
      }),
    close: () => transport.close(),
    [Symbol.asyncDispose]: () => transport.close(),
  };
  return client;
}

interface Call extends CallOptions {
  readonly body?: object;
  readonly query?: Readonly<Record<string, string | undefined>>;
}

function checkedBase({ apiKey, baseUrl = RUNPOD_MANAGEMENT_URL }: RunPodManagementOptions): string {
  if (!/^[\x21-\x7e]+$/.test(apiKey))
    throw new RunPodManagementError(
      'invalid_settings',
      'The RunPod API key is empty or has characters that no key has.',
      { hint: 'Set RUNPOD_API_KEY to the key alone, without quotes and line ends.' },
    );
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined;
  const isLocal = ['127.0.0.1', '[::1]', 'localhost'].includes(url?.hostname ?? '');
  if (
    url === undefined ||
    url.username !== '' ||
    (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLocal))
  )
    throw new RunPodManagementError(
      'invalid_settings',
      'The address of the RunPod management API must be https, or http on this machine, and hold no credentials.',
    );
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

/** An id goes into a path: `..` would be another resource. */
function checkedId(id: string): string {
  if (/^[A-Za-z0-9_-]+$/.test(id)) return id;
  throw new RunPodManagementError('invalid_settings', `${JSON.stringify(id)} is not an id of RunPod's.`);
}

/** Milliseconds until the next attempt; undefined when there must be none. */
function pauseBefore(
  error: unknown,
  attempt: number,
  isRead: boolean,
  random: () => number,
): number | undefined {
  if (!RunPodManagementError.isInstance(error) || !error.retryable) return undefined;
  if (!isRead && error.accepted !== 'no') return undefined;
  const asked = error.retryAfterMs;
  if (asked !== undefined && asked > LONGEST_RETRY_AFTER_MS) return undefined;
  const backoff = FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + random() / 2);
  return Math.max(backoff, asked ?? 0);
}

function read<Schema extends z.ZodType>(
  operation: string,
  schema: Schema,
  answer: WireAnswer,
  isWrite: boolean,
): z.infer<Schema> {
  const context = { operation, status: answer.status, requestId: answer.requestId };
  if (isPart(answer))
    throw new RunPodManagementError(
      'invalid_response',
      `RunPod's answer to ${operation} is one page of a longer list, which its document does not know.`,
      {
        ...context,
        hint: 'Nothing is done with half a list. A newer version of this library may know the pages.',
      },
    );
  const result = schema.safeParse(answer.body);
  if (result.success) return result.data;
  const problems = result.error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.map(String).join('.') || 'the answer'}: ${issue.message}`);
  throw new RunPodManagementError(
    'invalid_response',
    `RunPod's answer to ${operation} is not what its document says: ${problems.join('; ')}.`,
    { ...context, ...(isWrite ? { accepted: 'unknown' as const } : {}) },
  );
}

/** The document has no pages. Should they come, acting on the first alone would create endpoints twice. */
function isPart({ body, link }: WireAnswer): boolean {
  if (link !== undefined && /rel="?next"?/.test(link)) return true;
  if (typeof body !== 'object' || body === null || 'id' in body) return false;
  const signs = new Map<string, unknown>(Object.entries(body));
  const cursor = ['nextCursor', 'nextPageToken', 'nextPage', 'next', 'cursor'].some(
    (name) => typeof signs.get(name) === 'string' || typeof signs.get(name) === 'number',
  );
  return cursor || signs.get('hasMore') === true;
}

function window(more: BillingWindow = {}): Record<string, string | undefined> {
  return {
    startTime: more.startTime?.toISOString(),
    endTime: more.endTime?.toISOString(),
    lastN: more.lastN?.toString(),
    bucketSize: more.bucketSize,
  };
}
