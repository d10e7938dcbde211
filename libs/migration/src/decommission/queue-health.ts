/** What RunPod's job API says of an endpoint's queue: GET /health. */
import { z } from 'zod';

import { MigrationError } from '../migration-error.ts';

const count = z.number().int().nonnegative().nullish();

const health = z.object({
  jobs: z.object({ completed: count, failed: count, inProgress: count, inQueue: count, retried: count }),
  workers: z.record(z.string(), z.unknown()).optional(),
});

/** Jobs that an endpoint's queue holds, and those that it has ended. */
export interface QueueHealth {
  readonly inQueue: number;
  readonly inProgress: number;
  /** Completed and failed, by RunPod's own count, which nobody documents the span of; undefined where it does not tell. */
  readonly ended: number | undefined;
  /** Workers in any state but initializing. */
  readonly workers: number;
}

/** Milliseconds that the answer may take. */
const PATIENCE_MS = 30_000;

/**
 * Asks the job API; reads only.
 *
 * @param options `apiUrl` up to `/v2`.
 * @throws {MigrationError} `old_side_unreadable`.
 */
export async function readQueueHealth(options: {
  readonly apiUrl: string;
  readonly apiKey: string;
  readonly endpointId: string;
  readonly signal?: AbortSignal;
}): Promise<QueueHealth> {
  const { apiUrl, apiKey, endpointId, signal } = options;
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const unreadable = (why: string, cause?: unknown): MigrationError =>
    new MigrationError('old_side_unreadable', `RunPod's queue of ${endpointId} cannot be read: ${why}.`, {
      hint: 'Without it nobody can say that there is no traffic. Try again.',
      cause,
    });
  let body: unknown;
  try {
    const response = await fetch(`${apiUrl}/${encodeURIComponent(endpointId)}/health`, {
      headers: { authorization: `Bearer ${apiKey}` },
      redirect: 'error',
      signal: signal === undefined ? patience : AbortSignal.any([signal, patience]),
    });
    if (!response.ok) throw unreadable(`it answered ${response.status}`);
    body = await response.json();
  } catch (cause) {
    signal?.throwIfAborted();
    if (MigrationError.isInstance(cause)) throw cause;
    throw unreadable(cause instanceof Error ? cause.message : String(cause), cause);
  }
  const parsed = health.safeParse(body);
  if (!parsed.success) throw unreadable('its answer is not what its document says', parsed.error);
  return queueOf(parsed.data);
}

function queueOf({ jobs, workers = {} }: z.infer<typeof health>): QueueHealth {
  const { completed, failed, inQueue, inProgress } = jobs;
  const isTold = typeof completed === 'number' && typeof failed === 'number';
  const running = Object.entries(workers).flatMap(([state, number]) =>
    typeof number === 'number' && state !== 'initializing' ? [number] : [],
  );
  return {
    inQueue: inQueue ?? 0,
    inProgress: inProgress ?? 0,
    ended: isTold ? completed + failed : undefined,
    workers: running.reduce((sum, number) => sum + number, 0),
  };
}
