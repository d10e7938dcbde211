/** Many jobs through one service over backends that fail; what came of them. */
import { createServer } from 'node:http';

import { comfyApi, type ComfyUIService, createComfyUIService, type JobStore, runpod } from '../src/index.ts';
import { attemptId } from '../src/services/stored-job.ts';
import { createWebhookHandler, createWebhookSecret, nodeListener } from '../src/webhooks/index.ts';
import { callers, drained, type Heard, succeeded } from './callers.ts';
import { fastClock } from './fast-clock.ts';
import { faultyBackends } from './faulty-backends.ts';
import { seeded } from './seeded.ts';
import type { FaultRates } from './unreliable-answers.ts';

/** What a run was told to do. */
export interface FaultRunOptions {
  readonly seed: number;
  readonly jobs: number;
  /** Jobs in flight at once. */
  readonly concurrency: number;
  readonly rates: FaultRates;
  readonly store: JobStore;
  /** How many times as fast time runs for the service. By default 40; a slow machine misses its deadlines then. */
  readonly speed?: number;
  /** Whether the wall clock is set forward and back meanwhile. */
  readonly clockJumps?: boolean;
}

/** What came of it. */
export interface FaultRunReport {
  readonly succeeded: number;
  /** Failures by code. */
  readonly failed: Readonly<Record<string, number>>;
  /** Codes that are not in the documented list. */
  readonly undocumented: readonly string[];
  /** Jobs that ended nowhere, or said to have succeeded without having run. */
  readonly lost: readonly string[];
  /** Ids (one for each attempt) that ran more than once. */
  readonly twice: readonly string[];
  readonly overlaps: number;
  readonly requests: number;
  readonly injected: Readonly<Record<string, number>>;
  /** How the jobs ended in the store, those included whose caller heard `submission_unknown`. */
  readonly statuses: Readonly<Record<string, number>>;
}

/** Longest wait for jobs whose callers have gone, in milliseconds. */
const DRAIN_MS = 90_000;

/** Runs jobs over faulty backends. Time runs faster for the service. */
export async function faultRun(options: FaultRunOptions): Promise<FaultRunReport> {
  const random = seeded(options.seed);
  await using backends = await faultyBackends({
    random,
    rates: options.rates,
    runMs: () => 1 + 10 * random(),
  });
  const clock = fastClock(options.speed ?? 40, random);
  const secret = createWebhookSecret();
  let notice: ComfyUIService['notice'] = () => Promise.resolve();
  const handler = createWebhookHandler({
    path: '/webhooks',
    runpodSecrets: [secret],
    rememberDelivery: (id) => options.store.rememberDelivery(id),
    onNotice: (heard) => notice(heard),
    clock,
  });
  const server = createServer(nodeListener(handler)).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const problems: unknown[] = [];
  const service = createComfyUIService({
    adapters: {
      runpod: runpod({ apiUrl: `${backends.url}/v2`, endpointId: 'e', apiKey: 'k', claims: true }),
      comfy: comfyApi({ baseUrl: backends.url, lookup: true }),
    },
    store: options.store,
    routes: {
      default: [
        { backend: 'runpod', weight: 1 },
        { backend: 'comfy', weight: 1 },
      ],
    },
    restarts: 3,
    webhooks: { incomingUrl: `http://127.0.0.1:${port}/webhooks`, incomingSecrets: [secret] },
    onProblem: (...problem) => problems.push(problem),
    clock,
  });
  notice = (heard) => service.notice(heard);
  const jumps =
    options.clockJumps === true
      ? setInterval(() => clock.jump((random() - 0.5) * 4 * 60_000), 200)
      : undefined;

  let heard: Heard;
  let counts: Awaited<ReturnType<typeof drained>>;
  try {
    heard = await callers(service, options);
    counts = await drained(service, options.store, { longestMs: DRAIN_MS, everyMs: 20 });
  } finally {
    clearInterval(jumps);
    await service.close();
    server.closeAllConnections();
    server.close();
  }
  const { queued, running, canceling, ...ends } = counts;
  const ran = (jobId: string): number =>
    [1, 2, 3, 4].reduce((sum, attempt) => sum + (backends.executions.get(attemptId(jobId, attempt)) ?? 0), 0);
  return {
    succeeded: succeeded(heard),
    failed: heard.failed,
    undocumented: heard.undocumented,
    lost: [...heard.ended].filter(([id, end]) => end === 'succeeded' && ran(id) === 0).map(([id]) => id),
    twice: [...backends.executions].filter(([, count]) => count > 1).map(([id]) => id),
    overlaps: backends.overlaps,
    requests: backends.requests,
    injected: Object.fromEntries(backends.injected),
    statuses: { unfinished: queued + running + canceling, ...ends },
  };
}
