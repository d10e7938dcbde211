/**
 * Jobs through one service over the real local clouds, by way of a network that fails, while worker processes are killed;
 * what came of them, counted by the engines.
 */
import { createServer } from 'node:http';
import process from 'node:process';
import { setTimeout } from 'node:timers/promises';

import { createComfyUIService, type JobRecord, type JobStore, modal, runpod } from '../src/index.ts';
import { attemptId } from '../src/services/stored-job.ts';
import { createWebhookHandler, createWebhookSecret, nodeListener } from '../src/webhooks/index.ts';
import { callers, drained, type Heard, succeeded } from './callers.ts';
import { type ChaosClouds, ENDPOINT, startClouds } from './clouds.ts';
import { count, readBook } from './engine-book.ts';
import { fastClock } from './fast-clock.ts';
import { faultyProxy } from './faulty-proxy.ts';
import { seeded } from './seeded.ts';
import type { FaultRates } from './unreliable-answers.ts';

/** What a run was told to do. */
export interface CloudsRunOptions {
  readonly seed: number;
  readonly jobs: number;
  /** Jobs in flight at once. */
  readonly concurrency: number;
  readonly rates: FaultRates;
  readonly store: JobStore;
  /** Worker processes of the RunPod endpoint that are killed with a job in their hands. */
  readonly kills: number;
  /** Hears of progress. */
  readonly onEnd?: (ended: number) => void;
}

/** What came of it. */
export interface CloudsRunReport {
  readonly succeeded: number;
  /** Failures that callers heard, by code. */
  readonly failed: Readonly<Record<string, number>>;
  readonly undocumented: readonly string[];
  /** Jobs that are not over, or said to have succeeded without having run. */
  readonly lost: readonly string[];
  /** Ids (one for each attempt) that ran to their end more than once. */
  readonly twice: readonly string[];
  /** Jobs of which two runs were alive at once. */
  readonly overlaps: readonly string[];
  /** Runs by the engines, and how many of them a kill cut short. */
  readonly runs: number;
  readonly cut: number;
  readonly killed: number;
  /** Attempts beyond the first, counted in the store, and how many jobs had any. */
  readonly restarts: number;
  readonly restarted: number;
  readonly requests: number;
  readonly injected: Readonly<Record<string, number>>;
  readonly statuses: Readonly<Record<string, number>>;
  /** Jobs by the backend that has them. */
  readonly backends: Readonly<Record<string, number>>;
}

/** Milliseconds that a run takes. */
const RUN_MS = 300;

/** How many times as fast time runs for the service: it looks after a lost webhook within a minute then, not within eight. */
const SPEED = 10;

/** Attempts of a job at most: `restarts` below, and the first. */
const ATTEMPTS = 4;

/** Longest wait for jobs whose callers have gone, in milliseconds. */
const DRAIN_MS = 120_000;

/** Runs jobs over the local clouds. Time runs faster for the service, not for the clouds. */
export async function cloudsRun(options: CloudsRunOptions): Promise<CloudsRunReport> {
  const { store } = options;
  const random = seeded(options.seed);
  await using clouds = await startClouds({ runMs: RUN_MS, workers: 2 });
  const clock = fastClock(SPEED, random);
  const secret = createWebhookSecret();
  let webhooks = '';
  await using proxy = await faultyProxy({
    random,
    rates: options.rates,
    targets: { modal: clouds.modal.url, runpod: clouds.runpod.apiUrl },
    webhooks: () => webhooks,
  });
  const { key, secret: proxySecret } = clouds.modal;
  const service = createComfyUIService({
    adapters: {
      modal: modal({
        baseUrl: `${proxy.url}/modal`,
        auth: { type: 'modal-proxy', key, secret: proxySecret },
      }),
      runpod: runpod({
        apiUrl: `${proxy.url}/runpod`,
        endpointId: ENDPOINT,
        apiKey: clouds.runpod.apiKey,
        claims: true,
      }),
    },
    store,
    routes: {
      default: [
        { backend: 'modal', weight: 1 },
        { backend: 'runpod', weight: 1 },
      ],
    },
    restarts: ATTEMPTS - 1,
    webhooks: { incomingUrl: `${proxy.url}/webhooks`, incomingSecrets: [secret] },
    onProblem: () => undefined,
    clock,
  });
  const handler = createWebhookHandler({
    path: '/webhooks',
    runpodSecrets: [secret],
    rememberDelivery: (id) => store.rememberDelivery(id),
    onNotice: (notice) => service.notice(notice),
    clock,
  });
  const server = createServer(nodeListener(handler)).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  webhooks = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;

  let heard: Heard;
  let records: readonly JobRecord[];
  const over = new AbortController();
  const killing = killWorkers(clouds, { random, kills: options.kills, signal: over.signal });
  try {
    heard = await callers(service, options);
    await drained(service, store, { longestMs: DRAIN_MS, everyMs: 200 });
    records = await allJobs(store);
  } finally {
    over.abort();
    await killing;
    await service.close();
    server.closeAllConnections();
    server.close();
  }
  const jobOf = new Map(
    records.flatMap(({ id }) =>
      Array.from({ length: ATTEMPTS }, (_, index) => [attemptId(id, index + 1), id] as const),
    ),
  );
  const counted = count(readBook(clouds.book), (id) => jobOf.get(id) ?? id);
  const ran = new Set([...counted.ended].map((id) => jobOf.get(id) ?? id));
  const isOver = ({ finishedAt, status }: JobRecord): boolean => finishedAt !== null && status !== 'lost';
  const tally = (names: readonly string[]): Record<string, number> =>
    Object.fromEntries([...Map.groupBy(names, (name) => name)].map(([name, all]) => [name, all.length]));
  return {
    succeeded: succeeded(heard),
    failed: heard.failed,
    undocumented: heard.undocumented,
    lost: records
      .filter((job) => !isOver(job) || (job.status === 'succeeded' && !ran.has(job.id)))
      .map(({ id }) => id),
    twice: counted.twice,
    overlaps: counted.overlaps,
    runs: counted.runs,
    cut: counted.cut,
    killed: await killing,
    restarts: records.reduce((sum, { attempt }) => sum + attempt - 1, 0),
    restarted: records.filter(({ attempt }) => attempt > 1).length,
    requests: proxy.requests,
    injected: Object.fromEntries(proxy.injected),
    statuses: tally(records.map(({ status }) => status)),
    backends: tally(records.map(({ backend }) => backend)),
  };
}

interface Killing {
  readonly random: () => number;
  readonly kills: number;
  readonly signal: AbortSignal;
}

/** Kills workers that have a job in their hands, at random moments; resolves with how many were. */
async function killWorkers(clouds: ChaosClouds, { random, kills, signal }: Killing): Promise<number> {
  let killed = 0;
  const isOver = (): boolean => signal.aborted;
  while (killed < kills && !isOver()) {
    await pause(2_000 * random(), signal);
    // One that has just begun may be before, in or after its run.
    const busy = isOver() ? [] : await clouds.busyWorkers();
    await pause(RUN_MS * random(), signal);
    const pid = busy[Math.trunc(random() * busy.length)];
    if (pid === undefined || isOver()) continue;
    try {
      process.kill(pid, 'SIGKILL');
      killed += 1;
    } catch {
      // It has ended by itself.
    }
  }
  return killed;
}

/** Waits, but not beyond the signal. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await setTimeout(ms, undefined, { signal }).catch(() => undefined);
}

async function allJobs(store: JobStore): Promise<JobRecord[]> {
  const jobs: JobRecord[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await store.list({}, { cursor, limit: 1_000 });
    jobs.push(...page.jobs);
    cursor = page.next;
    if (cursor === undefined) return jobs;
  }
}
