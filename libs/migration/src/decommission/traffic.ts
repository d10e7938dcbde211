/** Whether anything still comes to the old side: by the job store, by RunPod's queue, by RunPod's bill. */
import type { JobStore, JsonValue } from '@ryla/business';
import type { RunPodManagement } from '@ryla/runpod-management';
import { z } from 'zod';

import type { QueueHealth } from './queue-health.ts';
import type { Refusal } from './refusal.ts';

const HOUR_MS = 60 * 60 * 1_000;

/** What is asked, and of whom. */
export interface TrafficOptions {
  readonly store: Pick<JobStore, 'count' | 'list' | 'getState' | 'setState'>;
  /** Undefined where the endpoint is gone: there is no bill to ask for. */
  readonly client: Pick<RunPodManagement, 'serverlessBilling'> | undefined;
  readonly queue: QueueHealth;
  readonly endpoint: string;
  /** Backend of the old side. */
  readonly backend: string;
  readonly runpodId: string;
  /** Whether workers wait although no job comes: their cost is no traffic then. */
  readonly hasIdleWorkers: boolean;
  readonly quietHours: number;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly signal?: AbortSignal;
}

/** Since when a count is as it is, in milliseconds since 1970, and whether that was the first look or a move. */
export interface SeenCount {
  readonly since: number;
  readonly isFirstLook: boolean;
}

/** What was found in the agreed time. */
export interface Traffic {
  /** Hours that had to be quiet. */
  readonly quietHours: number;
  /** Jobs that the store has on the old side since then, and those that have not ended, whenever they began. */
  readonly jobs: number;
  readonly unfinished: number;
  /** When the last stored job on the old side was made; null for none. Milliseconds since 1970. */
  readonly lastJobAt: number | null;
  readonly queue: QueueHealth;
  /** RunPod's own count of ended jobs as it was at earlier looks; null where it does not tell. */
  readonly count: SeenCount | null;
  /** What RunPod billed for the endpoint in that time; null where the bill cannot be read. */
  readonly billed: { readonly usd: number; readonly hours: number } | null;
}

/** Asks all three. Notes RunPod's count in the job store, so that the next time shows whether it has moved. */
export async function readTraffic(options: TrafficOptions): Promise<Traffic> {
  const { store, endpoint, backend, quietHours, now, queue } = options;
  const since = now - quietHours * HOUR_MS;
  const total = (counts: Awaited<ReturnType<JobStore['count']>>): number =>
    Object.values(counts).reduce((sum, count) => sum + count, 0);
  const all = await store.count({ endpoint, backend });
  const [last] = (await store.list({ endpoint, backend }, { limit: 1 })).jobs;
  return {
    quietHours,
    jobs: total(await store.count({ endpoint, backend, since })),
    unfinished: all.queued + all.running + all.canceling,
    lastJobAt: last?.createdAt ?? null,
    queue,
    count: await noteCount(options),
    billed: await readBill(options, since),
  };
}

/** Why the traffic speaks against going on; empty when there was none. */
export function trafficRefusals(
  traffic: Traffic,
  { hasIdleWorkers, now }: Pick<TrafficOptions, 'hasIdleWorkers' | 'now'>,
): readonly Refusal[] {
  const { quietHours, jobs, unfinished, queue, count, billed, lastJobAt } = traffic;
  const refusals: Refusal[] = [];
  if (jobs > 0)
    refusals.push({
      code: 'jobs_in_store',
      message: `The job store has ${jobs} jobs on the old side in the last ${quietHours} h, the last ${ago(lastJobAt, now)}.`,
    });
  if (unfinished > 0)
    refusals.push({ code: 'jobs_in_store', message: `${unfinished} jobs on the old side have not ended.` });
  if (queue.inQueue + queue.inProgress > 0)
    refusals.push({
      code: 'jobs_in_queue',
      message: `RunPod's queue has ${queue.inQueue} jobs waiting and ${queue.inProgress} running.`,
    });
  const isProvenByBill = billed !== null && billed.usd === 0 && !hasIdleWorkers;
  if (count !== null && count.since > now - quietHours * HOUR_MS && !(count.isFirstLook && isProvenByBill))
    refusals.push({
      code: 'jobs_elsewhere',
      message: count.isFirstLook
        ? `RunPod's count of ended jobs was first seen ${hours(now - count.since)} h ago: look again when ${quietHours} h have passed.`
        : `RunPod's count of ended jobs has moved in the last ${hours(now - count.since)} h: jobs came from somewhere else.`,
    });
  if (billed !== null && billed.usd > 0 && !hasIdleWorkers)
    refusals.push({
      code: 'billed',
      message: `RunPod billed $${billed.usd.toFixed(4)} in ${billed.hours} of the last ${quietHours} h: something ran there.`,
    });
  return refusals;
}

const look = z.object({ at: z.number(), ended: z.number(), isFirstLook: z.boolean() });

/** Since when RunPod's count is as it is now. */
async function noteCount({ store, endpoint, queue, now }: TrafficOptions): Promise<SeenCount | null> {
  const { ended } = queue;
  if (ended === undefined) return null;
  const key = `migration/old-side/${endpoint}`;
  for (;;) {
    const entry = await store.getState(key);
    const before = look.safeParse(entry?.value);
    if (before.success && before.data.ended === ended)
      return { since: before.data.at, isFirstLook: before.data.isFirstLook };
    const value: JsonValue = { at: now, ended, isFirstLook: !before.success };
    const { applied } = await store.setState(key, value, entry?.version ?? 0);
    if (applied) return { since: now, isFirstLook: !before.success };
  }
}

async function readBill(
  { client, runpodId, now, signal }: TrafficOptions,
  since: number,
): Promise<Traffic['billed']> {
  if (client === undefined) return null;
  const window = { startTime: new Date(since), endTime: new Date(now), bucketSize: 'hour' as const };
  const bill = await client
    .serverlessBilling({ endpointId: runpodId, ...window, ...(signal === undefined ? {} : { signal }) })
    .catch(() => undefined);
  signal?.throwIfAborted();
  if (bill === undefined) return null;
  // An hour that began before the agreed time also holds what came before it.
  const inside = bill.records.filter(
    (record) => record.serverlessId === runpodId && Date.parse(record.startTime) >= since,
  );
  const paid = inside.filter(({ gpuAmount, cpuAmount }) => gpuAmount + cpuAmount > 0);
  return {
    usd: paid.reduce((sum, { gpuAmount, cpuAmount }) => sum + gpuAmount + cpuAmount, 0),
    hours: paid.length,
  };
}

function ago(at: number | null, now: number): string {
  return at === null ? 'at an unknown time' : `${hours(now - at)} h ago`;
}

function hours(milliseconds: number): string {
  return (milliseconds / HOUR_MS).toFixed(1);
}
