/** Workers of an endpoint, restated from RunPod's OpenAPI document 2.0.0 as of 2026-11-24. */
import { z } from 'zod';

/** States of a worker that the document names; another one is let through. */
export const WORKER_STATES = ['RUNNING', 'IDLE', 'INITIALIZING', 'THROTTLED', 'UNHEALTHY'] as const;

const text = z.string();

const worker = z.object({
  id: text.min(1),
  status: text,
  /** Whether it runs an older release than the endpoint's. */
  isStale: z.boolean(),
  gpuCount: z.int(),
  version: z.int().nullish(),
  image: text.nullish(),
  uptimeSeconds: z.int().nullish(),
  gpuTypeId: text.nullish(),
  dataCenterId: text.nullish(),
  startedAt: text.nullish(),
});

/** The active workers of an endpoint: those that were scaled down are not in RunPod's list. */
export const workerList = z.object({ workers: z.array(worker), endpointVersion: z.int().nullish() });

/** An active worker. */
export type RunPodWorker = z.infer<typeof worker>;
/** The active workers of an endpoint, and the version of its settings that new ones get. */
export type RunPodWorkers = z.infer<typeof workerList>;
