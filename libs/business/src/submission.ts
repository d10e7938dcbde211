import type { Adapter, ProviderRef } from './adapter.ts';
import { ComfyUIServiceError } from './errors.ts';
import type { JobSubmission } from './job.ts';
import { type Clock, RETRY, retryDelay, retryRead } from './retry.ts';

/**
 * Sends a job so that it runs once. What was surely not taken is sent again; a lost answer is looked up by the
 * job's id, where the backend can do that, and is `submission_unknown` where it cannot: never sent again.
 */
export async function submitOnce(
  adapter: Adapter,
  job: JobSubmission,
  clock: Clock,
  signal: AbortSignal,
): Promise<ProviderRef> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await adapter.submit(job, { signal });
    } catch (error) {
      signal.throwIfAborted();
      if (!ComfyUIServiceError.isInstance(error)) throw error;
      if (error.accepted === 'unknown' || error.accepted === undefined) {
        const found = await lookUp(adapter, job, error, clock, signal);
        if (found !== undefined) return found;
      }
      if (!error.retryable || attempt >= RETRY.attempts) throw error;
      await clock.sleep(retryDelay(attempt + 1, error, clock.random()), signal);
    }
  }
}

/** The job, if the backend has it; undefined when it surely has not, so that it may be sent again. */
async function lookUp(
  adapter: Adapter,
  job: JobSubmission,
  error: ComfyUIServiceError,
  clock: Clock,
  signal: AbortSignal,
): Promise<ProviderRef | undefined> {
  const unknown = (cause: unknown): ComfyUIServiceError =>
    new ComfyUIServiceError(
      'submission_unknown',
      `The answer to the submission of job ${job.jobId} was lost (${error.message}); it may be running.`,
      {
        jobId: job.jobId,
        cause,
        hint: 'Look for it at the backend before you send it again: a second job would be paid twice.',
      },
    );
  if (adapter.lookup === undefined) throw unknown(error);
  try {
    return await retryRead(async () => adapter.lookup?.(job.jobId, { signal }), clock, signal);
  } catch (cause) {
    signal.throwIfAborted();
    throw unknown(cause);
  }
}
