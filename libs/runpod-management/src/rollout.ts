import { setTimeout as sleepFor } from 'node:timers/promises';

import type { CallOptions, RunPodManagement } from './client.ts';
import { RunPodManagementError } from './runpod-error.ts';
import type { RunPodReleases } from './schemas.ts';

/** Milliseconds between two looks at a rollout: a minute's 60 requests (RunPod's document) are for others too. */
export const ROLLOUT_POLL_MS = 5_000;

/** Options of {@link waitForRollout}. */
export interface RolloutOptions extends CallOptions {
  /** Milliseconds after which it is given up. */
  readonly timeoutMs?: number;
  /** {@link ROLLOUT_POLL_MS} without it. */
  readonly pollMs?: number;
  /** Called after each look. */
  readonly onProgress?: (rollout: RunPodReleases['rollout']) => void;
}

/**
 * Waits until no worker runs an older release. An endpoint without workers is ready at once: the next job starts a new one.
 *
 * @throws {RunPodManagementError} `timed_out`; a worker that is still busy with a long job keeps its release until it ends.
 */
export async function waitForRollout(
  client: RunPodManagement,
  id: string,
  { signal, timeoutMs = 15 * 60_000, pollMs = ROLLOUT_POLL_MS, onProgress }: RolloutOptions = {},
): Promise<RunPodReleases['rollout']> {
  const call = signal === undefined ? {} : { signal };
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const { rollout } = await client.listReleases(id, call);
    onProgress?.(rollout);
    if (!rollout.inProgress) return rollout;
    if (performance.now() + pollMs > deadline)
      throw new RunPodManagementError(
        'timed_out',
        `After ${timeoutMs / 1000} s, ${rollout.workersOnLatest} of ${rollout.workersTotal} workers of ${id} run the new release.`,
        {
          retryable: true,
          hint: 'Its workers finish their jobs first; wait longer, or look at them in the console.',
        },
      );
    await sleepFor(pollMs, undefined, call).catch((cause: unknown) => {
      throw signal?.aborted === true ? signal.reason : cause;
    });
  }
}
