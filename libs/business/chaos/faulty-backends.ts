/**
 * Two backends on one port whose network and servers fail as told, and that count how often each job ran: RunPod's job
 * API with workers that claim jobs, below `/v2/e`, and Comfy API v2 with look-up, below `/api`.
 */
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import { request } from 'undici';

import { type HttpStandIn, httpStandIn, json, type ReceivedRequest } from '../src/testing/http-stand-in.ts';

/** Shares (0 to 1) of requests to which each fault happens. */
export interface FaultRates {
  readonly resetBefore: number;
  readonly resetAfter: number;
  readonly throttle: number;
  readonly throttleWithRetryAfter: number;
  readonly serverErrorBefore: number;
  readonly serverErrorAfter: number;
  readonly truncated: number;
  readonly malformed: number;
  readonly slowHeaders: number;
  readonly stalledBody: number;
  readonly duplicateWebhook: number;
  readonly lateWebhook: number;
  readonly lostWebhook: number;
  /** A worker dies with a job in its hands. */
  readonly workerLost: number;
}

/** No fault at all. */
export const NO_FAULTS: FaultRates = {
  resetBefore: 0,
  resetAfter: 0,
  throttle: 0,
  throttleWithRetryAfter: 0,
  serverErrorBefore: 0,
  serverErrorAfter: 0,
  truncated: 0,
  malformed: 0,
  slowHeaders: 0,
  stalledBody: 0,
  duplicateWebhook: 0,
  lateWebhook: 0,
  lostWebhook: 0,
  workerLost: 0,
};

/** Each fault a few times in a hundred. */
export const MANY_FAULTS: FaultRates = {
  resetBefore: 0.03,
  resetAfter: 0.03,
  throttle: 0.02,
  throttleWithRetryAfter: 0.02,
  serverErrorBefore: 0.02,
  serverErrorAfter: 0.02,
  truncated: 0.02,
  malformed: 0.02,
  slowHeaders: 0.01,
  stalledBody: 0.005,
  duplicateWebhook: 0.1,
  lateWebhook: 0.1,
  lostWebhook: 0.1,
  workerLost: 0.02,
};

interface BackendJob {
  readonly id: string;
  /** Our id of the job, of the attempt that was sent. */
  readonly key: string;
  readonly webhook: string | undefined;
  status: 'queued' | 'running' | 'succeeded' | 'failed' | 'canceled';
  error: unknown;
}

/** What the backends have seen. */
export interface FaultyBackends extends HttpStandIn {
  /** How often the worker ran a job, by the id that was sent. */
  readonly executions: ReadonlyMap<string, number>;
  /** Runs of the same id at the same time: must stay 0. */
  readonly overlaps: number;
  readonly requests: number;
  /** Faults that happened, by name. */
  readonly injected: ReadonlyMap<string, number>;
}

/** Options of {@link faultyBackends}. */
export interface FaultyBackendsOptions {
  readonly random: () => number;
  readonly rates: FaultRates;
  /** Milliseconds (of the machine) that a job runs. */
  readonly runMs: () => number;
  readonly slowMs?: number;
}

/** Starts the backends. */
export async function faultyBackends(options: FaultyBackendsOptions): Promise<FaultyBackends> {
  const { random, rates, runMs, slowMs = 150 } = options;
  const jobs = new Map<string, BackendJob>();
  const byKey = new Map<string, BackendJob>();
  const claims = new Map<string, BackendJob>();
  const executions = new Map<string, number>();
  const running = new Set<string>();
  const injected = new Map<string, number>();
  let overlaps = 0;
  let requests = 0;
  let closed = false;

  function strikes(name: keyof FaultRates): boolean {
    if (random() >= rates[name]) return false;
    injected.set(name, (injected.get(name) ?? 0) + 1);
    return true;
  }

  function take(id: string, key: string, webhook: string | undefined): BackendJob {
    const job: BackendJob = { id, key, webhook, status: 'queued', error: undefined };
    jobs.set(id, job);
    setTimeout(() => work(job), random() * 4).unref();
    return job;
  }

  /** The worker: claims the job by our id, runs it once, and may die. */
  function work(job: BackendJob): void {
    if (closed || job.status === 'canceled') return;
    const holder = claims.get(job.key);
    if (holder !== undefined) {
      end(job, 'failed', {
        code: 'already_claimed',
        message: 'claimed',
        details: { runpodJobId: holder.id },
      });
      return;
    }
    claims.set(job.key, job);
    if (running.has(job.key)) overlaps += 1;
    running.add(job.key);
    executions.set(job.key, (executions.get(job.key) ?? 0) + 1);
    job.status = 'running';
    setTimeout(() => {
      running.delete(job.key);
      if (job.status !== 'running') return;
      if (strikes('workerLost'))
        end(job, 'failed', { code: 'worker_lost', message: 'it died', retryable: true });
      else end(job, 'succeeded', undefined);
    }, runMs()).unref();
  }

  function end(job: BackendJob, status: BackendJob['status'], error: unknown): void {
    job.status = status;
    job.error = error;
    if (job.webhook === undefined || strikes('lostWebhook')) return;
    const copies = strikes('duplicateWebhook') ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const delay = strikes('lateWebhook') ? 200 * random() : 2 * random();
      setTimeout(() => void notify(job), delay).unref();
    }
  }

  async function notify(job: BackendJob): Promise<void> {
    if (job.webhook === undefined || closed) return;
    try {
      const body = JSON.stringify({ ...runpodEnvelope(job), input: {} });
      const answer = await request(job.webhook, { method: 'POST', body });
      await answer.body.dump();
    } catch {
      // The application is down: the service finds out by itself.
    }
  }

  function respond(response: ServerResponse, status: number, body: unknown): void {
    if (strikes('truncated')) {
      const text = JSON.stringify(body);
      response.writeHead(status, {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
      });
      response.write(text.slice(0, text.length / 2), () => response.destroy());
      return;
    }
    if (strikes('malformed')) {
      response.writeHead(status, { 'content-type': 'application/json' }).end('<html>502</html>');
      return;
    }
    if (strikes('stalledBody')) {
      response.writeHead(status, { 'content-type': 'application/json', 'content-length': 1_000 });
      response.write('{"id":');
      setTimeout(() => response.destroy(), slowMs).unref();
      return;
    }
    if (strikes('slowHeaders')) {
      setTimeout(() => json(response, status, body), slowMs).unref();
      return;
    }
    json(response, status, body);
  }

  /** What the network and the server do before the request is looked at; false when it never is. */
  function arrives(response: ServerResponse): boolean {
    requests += 1;
    if (strikes('resetBefore')) response.destroy();
    else if (strikes('throttle'))
      json(response, 429, { error: { code: 'rate_limited', message: 'slow down' } });
    else if (strikes('throttleWithRetryAfter'))
      json(response, 429, { error: { code: 'rate_limited', message: 'slow down' } }, { 'retry-after': '1' });
    else if (strikes('serverErrorBefore'))
      json(response, 503, { error: { code: 'unavailable', message: 'not now' } });
    else return true;
    return false;
  }

  /** What may happen to an answer after the server has done what was asked. */
  function answer(response: ServerResponse, status: number, body: unknown): void {
    if (strikes('resetAfter')) response.destroy();
    else if (strikes('serverErrorAfter'))
      json(response, 500, { error: { code: 'internal', message: 'it broke' } });
    else respond(response, status, body);
  }

  function runpod(received: ReceivedRequest, response: ServerResponse): void {
    const [, operation = '', id = ''] = /\/v2\/e\/([a-z-]+)(?:\/([^?]+))?/.exec(received.path) ?? [];
    if (operation === 'run') {
      const { input, webhook } = JSON.parse(received.body.toString()) as {
        readonly input: { readonly jobId: string };
        readonly webhook?: string;
      };
      const job = take(randomUUID(), input.jobId, webhook);
      answer(response, 200, { id: job.id, status: 'IN_QUEUE' });
      return;
    }
    const job = jobs.get(id);
    if (job === undefined) {
      json(response, 404, { error: 'job not found' });
      return;
    }
    if (operation === 'cancel' && (job.status === 'queued' || job.status === 'running')) {
      running.delete(job.key);
      end(job, 'canceled', undefined);
    }
    answer(response, 200, runpodEnvelope(job));
  }

  function comfy(received: ReceivedRequest, response: ServerResponse): void {
    const refuse = (status: number, code: string): unknown =>
      json(response, status, { error: { code, message: code } });
    if (received.path === '/api/v2/jobs') {
      const key = String(received.headers['ryla-job-id']);
      if (byKey.has(key)) {
        refuse(422, 'idempotency_key_reuse');
        return;
      }
      const job = take(key, key, undefined);
      byKey.set(key, job);
      answer(response, 201, comfyJob(job));
      return;
    }
    const [, id = '', rest = ''] = /\/jobs\/([^/?]+)(\/\w+)?/.exec(received.path) ?? [];
    const job = byKey.get(id);
    if (job === undefined) {
      refuse(404, 'not_found');
      return;
    }
    if (rest === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`event: status\ndata: ${JSON.stringify({ status: job.status })}\n\n`);
      return;
    }
    if (rest === '/cancel' && (job.status === 'queued' || job.status === 'running')) {
      running.delete(job.key);
      job.status = 'canceled';
    }
    answer(response, 200, received.path.startsWith('/api/ryla/') ? { job: comfyJob(job) } : comfyJob(job));
  }

  const standIn = await httpStandIn((received, response) => {
    standIn.received.length = 0;
    if (received.path === '/_seen') {
      json(response, 200, {
        executions: Object.fromEntries(executions),
        overlaps,
        requests,
        injected: Object.fromEntries(injected),
      });
      return;
    }
    if (!arrives(response)) return;
    if (received.path.startsWith('/v2/')) runpod(received, response);
    else comfy(received, response);
  });
  return {
    url: standIn.url,
    received: standIn.received,
    executions,
    get overlaps() {
      return overlaps;
    },
    get requests() {
      return requests;
    },
    injected,
    async [Symbol.asyncDispose]() {
      closed = true;
      await standIn[Symbol.asyncDispose]();
    },
  };
}

function runpodEnvelope(job: BackendJob): object {
  const status = {
    queued: 'IN_QUEUE',
    running: 'IN_PROGRESS',
    succeeded: 'COMPLETED',
    failed: 'FAILED',
    canceled: 'CANCELLED',
  }[job.status];
  return {
    id: job.id,
    status,
    ...(job.error === undefined ? {} : { error: JSON.stringify(job.error) }),
    ...(job.status === 'succeeded' ? { delayTime: 1, executionTime: 2, output: { images: [] } } : {}),
  };
}

function comfyJob(job: BackendJob): object {
  return {
    id: job.id,
    status: job.status,
    queue_position: null,
    progress: null,
    outputs: [],
    error: job.error ?? null,
    metrics: { execution_ms: 2 },
  };
}
