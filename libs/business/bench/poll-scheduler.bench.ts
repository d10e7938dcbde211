/**
 * The poll scheduler with 10,000 jobs on one RunPod endpoint: how soon it notices what webhooks tell of (in simulated
 * time, under RunPod's limit kept strictly), and what it takes of time and memory beside a timer for every job.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import type { BenchResult } from '@ryla/test-support';

import { type JobSnapshot, PollScheduler, createRateLimiter, systemClock } from '../src/index.ts';
import { ManualClock } from '../src/testing/index.ts';
import { SimulatedEndpoint } from '../src/testing/simulated-endpoint.ts';

const JOBS = 10_000;
const ROUNDS = 5;
const STATUS_LIMIT = { requests: 2_000, perMs: 10_000, concurrent: 400 };
const RETENTION_MS = 30 * 60_000;
const NEVER = new AbortController().signal;

/** Milliseconds, microseconds and MiB; less is better in all of them. */
export async function run(): Promise<BenchResult[]> {
  const even = await noticing(() => 5);
  const random = await noticing((clock) => -Math.log(1 - clock.random()) * 10);
  const ours = await best(ourJobs);
  const peer = await best(timerJobs);
  return [
    figure(
      'noticed after its webhook, p95, 200 completions/s evenly',
      even,
      'one status call, p95',
      'ms simulated',
    ),
    figure(
      'noticed after its webhook, p95, 100 completions/s at random',
      random,
      'one status call, p95',
      'ms simulated',
    ),
    figure('a job from add to its end', { ours: ours.us, peer: peer.us }, 'a timer for every job', 'µs'),
    figure(
      'heap of 10,000 jobs in flight',
      { ours: ours.mib, peer: peer.mib },
      'a timer for every job',
      'MiB',
    ),
  ];
}

function figure(
  name: string,
  { ours, peer }: { readonly ours: number; readonly peer: number },
  peerName: string,
  unit: string,
): BenchResult {
  return { name, ours, peer, peerName, ratio: ours / peer, unit };
}

/** @param gap milliseconds between one completion and the next. */
async function noticing(
  gap: (clock: ManualClock) => number,
): Promise<{ readonly ours: number; readonly peer: number }> {
  const clock = new ManualClock();
  const limiter = createRateLimiter({ clock, limits: { operations: { status: STATUS_LIMIT } } });
  const scheduler = new PollScheduler(clock, { limiter, retentionMs: RETENTION_MS });
  const latency = (): number => 2 + 6 * clock.random();
  let end = 120_000;
  const endpoint = new SimulatedEndpoint({
    clock,
    statusLimit: STATUS_LIMIT,
    workers: JOBS,
    execution: () => (end += gap(clock)),
    retentionMs: RETENTION_MS,
    latency,
    webhook: (id) => scheduler.notify(id),
  });
  const noticed: number[] = [];
  for (let job = 0; job < JOBS; job += 1) {
    const id = String(job);
    endpoint.submit(id);
    const listener = {
      lookedAt: ({ status }: JobSnapshot) => {
        if (status === 'succeeded') noticed.push(clock.monotonic() - endpoint.endedAt(id));
      },
      lookFailed: () => undefined,
    };
    const options = { webhook: true, submittedAgoMs: 0 };
    scheduler.add(id, (signal) => endpoint.status(id, signal), listener, options);
  }
  while (scheduler.size > 0) await clock.pass(10_000);
  if (endpoint.refused > 0 || noticed.length < JOBS)
    throw new Error('The scheduler lost jobs or broke the limit.');
  const bare = Array.from({ length: JOBS }, () => latency() + latency() + latency());
  return { ours: p95(noticed), peer: p95(bare) };
}

function p95(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.ceil(values.length * 0.95) - 1] ?? NaN;
}

interface Cost {
  readonly us: number;
  readonly mib: number;
}

async function best(round: () => Promise<Cost>): Promise<Cost> {
  let found: Cost = { us: Infinity, mib: Infinity };
  for (let count = 0; count < ROUNDS; count += 1) {
    const { us, mib } = await round();
    found = { us: Math.min(found.us, us), mib: Math.min(found.mib, mib) };
  }
  return found;
}

/** As the service uses it: an iteration over the snapshots of every job, ended by its webhook. */
async function ourJobs(): Promise<Cost> {
  const scheduler = new PollScheduler(systemClock, { retentionMs: RETENTION_MS });
  const before = heapMib();
  const started = performance.now();
  const ends = Array.from({ length: JOBS }, async (_, job) => {
    const options = { webhook: true, submittedAgoMs: 0 };
    for await (const { status } of scheduler.watch(String(job), ended, NEVER, options))
      if (status === 'succeeded') return;
  });
  const added = performance.now() - started;
  const mib = heapMib() - before;
  const noticed = performance.now();
  for (let job = 0; job < JOBS; job += 1) scheduler.notify(String(job));
  await Promise.all(ends);
  return { us: ((added + performance.now() - noticed) * 1_000) / JOBS, mib };
}

/** The same with one timer and one promise a job. */
async function timerJobs(): Promise<Cost> {
  const wakes = new Map<string, () => void>();
  const before = heapMib();
  const started = performance.now();
  const ends = Array.from({ length: JOBS }, async (_, job) => {
    const wake = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => wake.resolve(undefined), 300_000);
    wakes.set(String(job), () => wake.resolve(undefined));
    await wake.promise;
    clearTimeout(timer);
    await ended();
  });
  const added = performance.now() - started;
  const mib = heapMib() - before;
  const noticed = performance.now();
  for (const wake of wakes.values()) wake();
  await Promise.all(ends);
  return { us: ((added + performance.now() - noticed) * 1_000) / JOBS, mib };
}

function ended(): Promise<JobSnapshot> {
  return Promise.resolve({
    status: 'succeeded',
    queuePosition: undefined,
    progress: undefined,
    outputs: [],
    error: undefined,
    timings: { queueMs: null, coldStartMs: null, executionMs: null },
  });
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function heapMib(): number {
  collect();
  return process.memoryUsage().heapUsed / 2 ** 20;
}
