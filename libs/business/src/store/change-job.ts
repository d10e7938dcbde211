import type { JobPatch, JobRecord } from './job-record.ts';
import type { JobStore, NewDelivery } from './job-store.ts';
import type { Transition } from './job-transition.ts';
import { unknownJob } from './store-error.ts';

/** A change of a job, and what to tell the application's webhook with it. */
export interface JobChange {
  readonly patch: JobPatch;
  readonly deliveries?: readonly NewDelivery[];
}

/**
 * Changes a job by what is stored, again whenever somebody else was quicker. `change` may run several times and
 * returns undefined where there is nothing to do. The result has the job as it is stored now.
 *
 * @throws {JobStoreError} `unknown_job`, and what the store throws.
 */
export async function changeJob(
  store: Pick<JobStore, 'get' | 'update'>,
  id: string,
  change: (job: JobRecord) => JobChange | undefined,
): Promise<
  Transition | { readonly applied: false; readonly reason: 'nothing_to_do'; readonly job: JobRecord }
> {
  let job = await store.get(id);
  if (job === undefined) throw unknownJob(id);
  for (;;) {
    const wanted = change(job);
    if (wanted === undefined) return { applied: false, reason: 'nothing_to_do', job };
    const result = await store.update(id, job.version, wanted.patch, wanted.deliveries);
    if (result.applied || result.reason !== 'stale_version') return result;
    job = result.job;
  }
}

/**
 * US dollars that an endpoint's jobs cost since a moment, estimates included: what a daily spend limit looks at.
 *
 * @param since milliseconds since 1970.
 */
export async function spentSince(
  store: Pick<JobStore, 'costs'>,
  endpoint: string | null,
  since: number,
): Promise<number> {
  const sums = await store.costs('endpoint', { endpoint, since });
  return sums[0]?.usd ?? 0;
}
