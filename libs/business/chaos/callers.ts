/** Callers of a run: each submits a job, waits for it, and takes the next one. */
import { randomUUID } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';

import { type ComfyUIService, ComfyUIServiceError, ERROR_CODES, type JobStore } from '../src/index.ts';
import { workflow } from './workflow.ts';

/** What the callers heard. */
export interface Heard {
  /** How each job ended for its caller, by id. */
  readonly ended: ReadonlyMap<string, 'succeeded' | 'failed'>;
  /** Failures by code. */
  readonly failed: Readonly<Record<string, number>>;
  /** Codes that are not in the documented list. */
  readonly undocumented: readonly string[];
}

/** Sends so many jobs through a service, some of them at once; `onEnd` hears how many are over. */
export async function callers(
  service: Pick<ComfyUIService, 'submitWorkflow'>,
  { jobs, concurrency, onEnd }: CallersOptions,
): Promise<Heard> {
  const ended = new Map<string, 'succeeded' | 'failed'>();
  const failed: Record<string, number> = {};
  const undocumented: string[] = [];
  let begun = 0;
  const caller = async (): Promise<void> => {
    while (begun < jobs) {
      begun += 1;
      const jobId = randomUUID();
      try {
        await (await service.submitWorkflow({ workflow }, { jobId })).result();
        ended.set(jobId, 'succeeded');
      } catch (error) {
        const code = ComfyUIServiceError.isInstance(error) ? error.code : String(error);
        if (!ERROR_CODES.some((known) => known === code)) undocumented.push(code);
        failed[code] = (failed[code] ?? 0) + 1;
        ended.set(jobId, 'failed');
      }
      onEnd?.(ended.size);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, caller));
  return { ended, failed, undocumented };
}

/** What the callers do. */
export interface CallersOptions {
  readonly jobs: number;
  /** Jobs in flight at once. */
  readonly concurrency: number;
  readonly onEnd?: ((ended: number) => void) | undefined;
}

/** How many of the jobs succeeded for their callers. */
export function succeeded({ ended }: Heard): number {
  return [...ended.values()].filter((end) => end === 'succeeded').length;
}

/** Waits until no job is in flight any more, or for so long; how many jobs the store has in each state. */
export async function drained(
  service: Pick<ComfyUIService, 'recover'>,
  store: JobStore,
  { longestMs, everyMs }: { readonly longestMs: number; readonly everyMs: number },
): Promise<Awaited<ReturnType<JobStore['count']>>> {
  const deadline = performance.now() + longestMs;
  for (;;) {
    await service.recover();
    const counts = await store.count();
    const { queued, running, canceling } = counts;
    if (queued + running + canceling === 0 || performance.now() > deadline) return counts;
    await setTimeout(everyMs);
  }
}
