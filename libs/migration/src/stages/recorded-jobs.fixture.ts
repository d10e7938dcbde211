/** Jobs that have run, written into a store. */
import { randomUUID } from 'node:crypto';

import type { JobPatch, JobStore } from '@ryla/business';
import type { ManualClock } from '@ryla/business/testing';

/** How a job went. */
export interface Ran {
  readonly backend: string;
  readonly status?: 'succeeded' | 'failed' | 'lost' | 'canceled';
  readonly executionMs?: number | null;
  readonly usd?: number | null;
  readonly errorCode?: string;
  readonly tags?: readonly string[];
  readonly routeKey?: string;
}

/** Records jobs, a second apart from each other. */
export async function record(store: JobStore, clock: ManualClock, jobs: readonly Ran[]): Promise<void> {
  for (const job of jobs) {
    clock.advance(1_000);
    const { job: created } = await store.create({
      id: randomUUID(),
      endpoint: 'picture',
      backend: job.backend,
      payloadHash: 'h',
      tags: job.tags ?? [],
      routeKey: job.routeKey ?? null,
    });
    await store.update(created.id, created.version, patchOf(job));
  }
}

/** The same job many times. */
export function times(count: number, job: Ran): Ran[] {
  return Array.from({ length: count }, () => job);
}

function patchOf({ status = 'succeeded', executionMs = 1_000, usd = 0.001, errorCode }: Ran): JobPatch {
  const hasFailed = status === 'failed' || status === 'lost';
  return {
    status,
    submission: 'submitted',
    timings: { queueMs: 100, coldStartMs: 0, executionMs, uploadMs: null, downloadMs: null },
    cost: usd === null ? null : { usd, estimated: false, gpu: 'L4', pricesOf: '2026-11-01' },
    error: hasFailed
      ? {
          code: errorCode ?? 'worker_lost',
          message: 'It died.',
          nodeId: null,
          classType: null,
          hint: null,
          retryable: false,
        }
      : null,
  };
}
