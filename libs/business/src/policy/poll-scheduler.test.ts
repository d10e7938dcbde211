import { describe, expect, it } from 'vitest';

import { ComfyUIServiceError } from '../errors.ts';
import type { JobSnapshot, JobStatus } from '../job.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { SimulatedEndpoint, type SimulatedEndpointOptions } from '../testing/simulated-endpoint.ts';
import { ExecutionHistory } from './execution-history.ts';
import { PollScheduler, type PollSchedulerOptions } from './poll-scheduler.ts';
import { createRateLimiter } from './rate-limiter.ts';

const STATUS_LIMIT = { requests: 2_000, perMs: 10_000, concurrent: 400 };
const RETENTION_MS = 30 * 60_000;
const JOBS = 10_000;

function saying(status: JobStatus): JobSnapshot {
  return {
    status,
    queuePosition: undefined,
    progress: undefined,
    outputs: [],
    error: undefined,
    timings: { queueMs: null, coldStartMs: null, executionMs: null },
  };
}

interface World {
  readonly clock: ManualClock;
  readonly endpoint: SimulatedEndpoint;
  readonly scheduler: PollScheduler;
  /** Milliseconds between the end of each job and its being noticed. */
  readonly noticedAfter: Map<string, number>;
  readonly failed: Map<string, unknown>;
  watch(id: string, options?: { readonly webhook?: boolean; readonly submittedAgoMs?: number }): void;
}

/** A scheduler under RunPod's limit before an endpoint that keeps it strictly. */
function world(
  endpointOptions: Partial<SimulatedEndpointOptions>,
  schedulerOptions: Partial<PollSchedulerOptions> = {},
): World {
  const clock = new ManualClock();
  const endpoint = new SimulatedEndpoint({
    clock,
    statusLimit: STATUS_LIMIT,
    workers: 100,
    execution: () => 10_000,
    retentionMs: RETENTION_MS,
    latency: () => 2 + 6 * clock.random(),
    ...endpointOptions,
  });
  const limiter = createRateLimiter({ clock, limits: { operations: { status: STATUS_LIMIT } } });
  const scheduler = new PollScheduler(clock, { limiter, retentionMs: RETENTION_MS, ...schedulerOptions });
  const noticedAfter = new Map<string, number>();
  const failed = new Map<string, unknown>();
  return {
    clock,
    endpoint,
    scheduler,
    noticedAfter,
    failed,
    watch(id, options = {}) {
      const listener = {
        lookedAt: ({ status }: JobSnapshot) => {
          if (status === 'succeeded') noticedAfter.set(id, clock.monotonic() - endpoint.endedAt(id));
        },
        lookFailed: (error: unknown) => failed.set(id, error),
      };
      const known = { workflow: 'w', submittedAgoMs: 0, ...options };
      scheduler.add(id, (signal) => endpoint.status(id, signal), listener, known);
    },
  };
}

function quantile(values: Iterable<number>, part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * part) - 1] ?? NaN;
}

function untilDone({ scheduler, clock }: World, atMostMs: number): Promise<void> {
  const stop = clock.monotonic() + atMostMs;
  const passed = async (): Promise<void> => {
    while (scheduler.size > 0 && clock.monotonic() < stop) await clock.pass(5_000);
  };
  return passed();
}

describe('10,000 jobs in flight on one endpoint', () => {
  it('are noticed within 100 ms of their webhooks at 200 completions a second', async () => {
    // Workers finish one after the other, 5 ms apart, as a steady 200/s does; RunPod grants 200 looks a second.
    let next = 0;
    const parts: World = world(
      {
        workers: JOBS,
        execution: () => 120_000 + (next += 1) * 5 + 40 * parts.clock.random(),
        webhook: (id) => parts.scheduler.notify(id),
      },
      {},
    );
    for (let job = 0; job < JOBS; job += 1) {
      parts.endpoint.submit(`${job}`);
      parts.watch(`${job}`, { webhook: true });
    }
    await untilDone(parts, RETENTION_MS);
    expect(parts.endpoint.refused).toBe(0);
    expect(parts.noticedAfter.size).toBe(JOBS);
    expect(quantile(parts.noticedAfter.values(), 0.95)).toBeLessThanOrEqual(100);
  }, 30_000);

  it('do not keep those with webhooks waiting, however many have none', async () => {
    let next = 0;
    const parts: World = world({
      workers: JOBS,
      execution: () => 60_000 + 20 * (next += 1),
      webhook: (id) => Number(id) < 5_000 && parts.scheduler.notify(id),
    });
    const hooked: number[] = [];
    for (let job = 0; job < JOBS; job += 1) {
      parts.endpoint.submit(`${job}`);
      parts.watch(`${job}`, { webhook: job < 5_000 });
    }
    await untilDone(parts, RETENTION_MS);
    expect(parts.endpoint.refused).toBe(0);
    expect(parts.noticedAfter.size).toBe(JOBS);
    for (const [id, after] of parts.noticedAfter) if (Number(id) < 5_000) hooked.push(after);
    expect(quantile(hooked, 0.95)).toBeLessThanOrEqual(100);
  }, 30_000);

  it('do not keep a webhook waiting when all are looked at after a restart', async () => {
    const parts: World = world({ webhook: (id) => parts.scheduler.notify(id), execution: () => 1_000 });
    parts.endpoint.submit('hooked');
    parts.watch('hooked', { webhook: true });
    for (let job = 0; job < JOBS; job += 1) {
      parts.endpoint.submit(`${job}`);
      parts.scheduler.add(`${job}`, (signal) => parts.endpoint.status(`${job}`, signal), {
        lookedAt: () => undefined,
        lookFailed: () => undefined,
      });
    }
    await parts.clock.pass(1_500);
    expect(parts.noticedAfter.get('hooked')).toBeLessThanOrEqual(100);
  });

  it('are all collected when a fifth of the webhooks is lost, and others come twice and out of order', async () => {
    const parts: World = world({
      workers: 1_000,
      execution: () => 20_000 * (1 + parts.clock.random()),
      webhook: (id) => {
        const { clock, scheduler } = parts;
        if (clock.random() < 0.2) return;
        clock.setTimer(3_000 * clock.random(), () => scheduler.notify(id));
        if (clock.random() < 0.5) clock.setTimer(9_000 * clock.random(), () => scheduler.notify(id));
      },
    });
    for (let job = 0; job < JOBS; job += 1) {
      parts.endpoint.submit(`${job}`);
      parts.watch(`${job}`, { webhook: true });
    }
    await untilDone(parts, 2 * RETENTION_MS);
    expect(parts.endpoint.refused).toBe(0);
    expect(parts.failed.size).toBe(0);
    expect(parts.noticedAfter.size).toBe(JOBS);
    expect(Math.max(...parts.noticedAfter.values())).toBeLessThan(RETENTION_MS / 2);
  }, 30_000);

  it('are all collected without webhooks, within the rate limit and before retention ends', async () => {
    const history = new ExecutionHistory();
    history.record('w', ...Array.from({ length: 100 }, (_, index) => 15_000 + 200 * index));
    const parts: World = world(
      { workers: 300, execution: () => 15_000 + 20_000 * parts.clock.random() },
      { history: (workflow) => history.quantiles(workflow) },
    );
    for (let job = 0; job < JOBS; job += 1) {
      parts.endpoint.submit(`${job}`);
      parts.watch(`${job}`);
      if (job % 100 === 99) await parts.clock.pass(1_000);
    }
    await untilDone(parts, 2 * RETENTION_MS);
    expect(parts.endpoint.refused).toBe(0);
    expect(parts.failed.size).toBe(0);
    expect(parts.noticedAfter.size).toBe(JOBS);
    expect(Math.max(...parts.noticedAfter.values())).toBeLessThan(RETENTION_MS / 2);
  }, 30_000);

  it('are all collected after a restart that knows nothing of them, through an outage of ten minutes', async () => {
    const parts: World = world({ workers: JOBS, execution: () => 60_000 * (1 + 9 * parts.clock.random()) });
    for (let job = 0; job < JOBS; job += 1) {
      parts.endpoint.submit(`${job}`);
      const look = (signal: AbortSignal): Promise<JobSnapshot> => parts.endpoint.status(`${job}`, signal);
      const note = (snapshot: JobSnapshot): void => {
        if (snapshot.status === 'succeeded') parts.noticedAfter.set(`${job}`, 0);
      };
      const fail = (error: unknown): void => void parts.failed.set(`${job}`, error);
      parts.scheduler.add(`${job}`, look, { lookedAt: note, lookFailed: fail });
    }
    parts.clock.setTimer(120_000, () => (parts.endpoint.isDown = true));
    parts.clock.setTimer(720_000, () => (parts.endpoint.isDown = false));
    await untilDone(parts, 2 * RETENTION_MS);
    expect(parts.endpoint.refused).toBe(0);
    expect(parts.failed.size).toBe(0);
    expect(parts.noticedAfter.size).toBe(JOBS);
  }, 30_000);
});

describe('the order of looks', () => {
  /** Which jobs are looked at, in order, one a second. */
  function slow(options: Partial<PollSchedulerOptions> = {}): {
    readonly clock: ManualClock;
    readonly scheduler: PollScheduler;
    readonly looked: string[];
    readonly look: (id: string) => () => Promise<JobSnapshot>;
  } {
    const clock = new ManualClock();
    const looked: string[] = [];
    const look = (id: string) => async (): Promise<JobSnapshot> => {
      looked.push(id);
      await clock.sleep(1_000, new AbortController().signal);
      return saying('running');
    };
    return { clock, scheduler: new PollScheduler(clock, { concurrency: 1, ...options }), looked, look };
  }
  const listener = { lookedAt: () => undefined, lookFailed: () => undefined };

  it('is webhooks first, then the earliest likely end', async () => {
    const times: Readonly<Record<string, readonly number[]>> = { fast: [2_000], slow: [9_000] };
    const { clock, scheduler, looked, look } = slow({ history: (workflow) => times[workflow] });
    scheduler.add('slow', look('slow'), listener, { workflow: 'slow', submittedAgoMs: 0 });
    scheduler.add('hook', look('hook'), listener, { webhook: true, submittedAgoMs: 0 });
    scheduler.add('fast', look('fast'), listener, { workflow: 'fast', submittedAgoMs: 0 });
    await clock.pass(1_500);
    expect(looked).toEqual([]);
    await clock.pass(1_000);
    expect(looked).toEqual(['fast']);
    expect(scheduler.notify('hook')).toBe(true);
    await clock.pass(700);
    expect(looked).toEqual(['fast', 'hook']);
    expect(scheduler.notify('unknown')).toBe(false);
    await clock.pass(7_000);
    expect(looked.indexOf('slow')).toBeGreaterThan(1);
  });

  it('looks again when the webhook comes during a look that was answered too early', async () => {
    const { clock, scheduler, looked, look } = slow();
    scheduler.add('a', look('a'), listener, { webhook: true });
    await clock.pass(500);
    scheduler.notify('a');
    await clock.pass(600);
    expect(looked).toEqual(['a', 'a']);
  });

  it('looks at a job with a webhook rarely, and before its result is forgotten', async () => {
    const clock = new ManualClock();
    const looks: number[] = [];
    const scheduler = new PollScheduler(clock, { retentionMs: 4 * 60_000 });
    const look = (): Promise<JobSnapshot> => {
      looks.push(clock.monotonic());
      return Promise.resolve(saying('running'));
    };
    scheduler.add('a', look, listener, { webhook: true, submittedAgoMs: 0 });
    await clock.pass(30 * 60_000);
    const gaps = looks.map((at, index) => at - (looks[index - 1] ?? 0));
    expect(looks.length).toBeLessThan(12);
    expect(Math.max(...gaps)).toBeLessThan(4 * 60_000);
  });

  it('takes what others learnt in place of a look', async () => {
    const { clock, scheduler, looked, look } = slow();
    const heard: JobStatus[] = [];
    const hear = {
      lookedAt: ({ status }: JobSnapshot) => void heard.push(status),
      lookFailed: () => undefined,
    };
    scheduler.add('a', look('a'), hear, { webhook: true, submittedAgoMs: 0 });
    scheduler.deliver('a', saying('succeeded'));
    expect(heard).toEqual(['succeeded']);
    expect(scheduler.size).toBe(0);
    await clock.pass(600_000);
    expect(looked).toEqual([]);
    expect(clock.pending).toBe(0);
  });
});

describe('errors of looks', () => {
  it('that may pass are waited out, and an open circuit breaker stops all looks', async () => {
    const clock = new ManualClock();
    const scheduler = new PollScheduler(clock);
    let looks = 0;
    const look = (): Promise<JobSnapshot> => {
      looks += 1;
      if (clock.monotonic() >= 20_000) return Promise.resolve(saying('succeeded'));
      const context = { retryable: true, retryAfterMs: 20_000 };
      return Promise.reject(new ComfyUIServiceError('backend_unavailable', 'open', context));
    };
    const ends = Array.from({ length: 500 }, async (_, index) => {
      const statuses: JobStatus[] = [];
      for await (const { status } of scheduler.watch(`${index}`, look, new AbortController().signal))
        statuses.push(status);
      return statuses;
    });
    expect(await clock.until(Promise.all(ends))).toEqual(ends.map(() => ['succeeded']));
    expect(looks).toBeLessThan(500 + 100);
  });

  it('that will not pass end the watch', async () => {
    const clock = new ManualClock();
    const scheduler = new PollScheduler(clock);
    const gone = (): Promise<JobSnapshot> => Promise.reject(new ComfyUIServiceError('job_not_found', '404'));
    const watch = scheduler.watch('a', gone, new AbortController().signal);
    await expect(clock.until(watch.next())).rejects.toMatchObject({ code: 'job_not_found' });
    expect(scheduler.size).toBe(0);
  });

  it('that last longer than its patience end the watch', async () => {
    const clock = new ManualClock();
    const scheduler = new PollScheduler(clock, { patienceMs: 60_000 });
    const down = (): Promise<JobSnapshot> =>
      Promise.reject(new ComfyUIServiceError('backend_unreachable', 'down', { retryable: true }));
    const watch = scheduler.watch('a', down, new AbortController().signal);
    await expect(clock.until(watch.next())).rejects.toMatchObject({ code: 'backend_unreachable' });
    expect(clock.monotonic()).toBeGreaterThan(60_000);
  });

  it('are the reason when it is stopped, and the caller’s when he stops listening', async () => {
    const clock = new ManualClock();
    const scheduler = new PollScheduler(clock);
    const forever = (): Promise<JobSnapshot> => Promise.resolve(saying('running'));
    const stop = new AbortController();
    const left = scheduler.watch('a', forever, stop.signal);
    await clock.until(left.next());
    const next = left.next();
    stop.abort(new Error('enough'));
    await expect(clock.until(next)).rejects.toThrow('enough');
    expect(scheduler.size).toBe(0);
    const stopped = scheduler.watch('b', forever, new AbortController().signal);
    await clock.until(stopped.next());
    scheduler.stop(new Error('closed'));
    await expect(stopped.next()).rejects.toThrow('closed');
    expect(clock.pending).toBe(0);
  });
});
