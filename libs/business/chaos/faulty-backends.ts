/**
 * Two backends on one port whose network and servers fail as told, and that count how often each job ran: RunPod's job
 * API with workers that claim jobs, below `/v2/e`, and Comfy API v2 with look-up, below `/api`.
 */
import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import { request } from 'undici';

import { type HttpStandIn, httpStandIn, json, type ReceivedRequest } from '../src/testing/http-stand-in.ts';
import { type FaultRates, unreliableAnswers } from './unreliable-answers.ts';

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
  const network = unreliableAnswers({ random, rates, slowMs });
  const { strikes, injected } = network;
  let overlaps = 0;
  let closed = false;

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

  function runpod(received: ReceivedRequest, response: ServerResponse): void {
    const [, operation = '', id = ''] = /\/v2\/e\/([a-z-]+)(?:\/([^?]+))?/.exec(received.path) ?? [];
    if (operation === 'run') {
      const { input, webhook } = JSON.parse(received.body.toString()) as {
        readonly input: { readonly jobId: string };
        readonly webhook?: string;
      };
      const job = take(randomUUID(), input.jobId, webhook);
      network.answer(response, 200, { id: job.id, status: 'IN_QUEUE' });
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
    network.answer(response, 200, runpodEnvelope(job));
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
      network.answer(response, 201, comfyJob(job));
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
    network.answer(
      response,
      200,
      received.path.startsWith('/api/ryla/') ? { job: comfyJob(job) } : comfyJob(job),
    );
  }

  const standIn = await httpStandIn((received, response) => {
    standIn.received.length = 0;
    if (received.path === '/_seen') {
      json(response, 200, {
        executions: Object.fromEntries(executions),
        overlaps,
        requests: network.requests,
        injected: Object.fromEntries(injected),
      });
      return;
    }
    if (!network.arrives(response)) return;
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
      return network.requests;
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
