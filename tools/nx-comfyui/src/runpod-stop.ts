/** Takes an endpoint's workers on RunPod to none, and its way back. */
import { setTimeout as sleepFor } from 'node:timers/promises';

import type { RunPodManagement } from '@ryla/runpod-management';

import type { FoundEndpoint } from './runpod-endpoint.ts';

/** Milliseconds between two looks at the workers. */
const POLL_MS = 2_000;

/** What is left after {@link stopWorkers}. */
export interface StoppedEndpoint {
  /** Ids of workers that have not ended: they finish a job. */
  readonly left: readonly string[];
}

/** Options of {@link stopWorkers}. */
export interface StopOptions {
  /** Milliseconds that workers have to finish their jobs. */
  readonly patienceMs: number;
  readonly signal: AbortSignal;
  /** Called when the number of workers that are left has changed. */
  readonly onProgress: (left: number) => void;
  /** For tests. */
  readonly pollMs?: number;
}

/**
 * Lets an endpoint have no workers, and waits until they have ended. Jobs wait in its queue until there are workers again, or
 * their time to live is over.
 *
 * @throws {Error} for an endpoint that `ryla deploy` did not make: it is somebody's else.
 */
export async function stopWorkers(
  client: RunPodManagement,
  { live, isOurs }: FoundEndpoint,
  { patienceMs, signal, onProgress, pollMs = POLL_MS }: StopOptions,
): Promise<StoppedEndpoint> {
  refuseForeign({ live, isOurs });
  await client.updateEndpoint(live.id, { workers: { min: 0, max: 0 } }, { signal });
  const deadline = performance.now() + patienceMs;
  for (let before: number | undefined; ;) {
    const { workers } = await client.listWorkers(live.id, { signal });
    if (workers.length !== before) onProgress((before = workers.length));
    if (workers.length === 0 || performance.now() + pollMs > deadline)
      return { left: workers.map(({ id }) => id) };
    await sleepFor(pollMs, undefined, { signal });
  }
}

/** @throws {Error} for an endpoint that `ryla deploy` did not make. */
export function refuseForeign({ live, isOurs }: Pick<FoundEndpoint, 'live' | 'isOurs'>): void {
  if (isOurs) return;
  throw new Error(
    `The RunPod endpoint ${live.name} (${live.id}) was not made by \`ryla deploy\` and is left alone. Set its workers to 0 in ` +
      "RunPod's console.",
  );
}
