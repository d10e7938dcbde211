/** What our workers measure of a job: the same names on Modal and RunPod (libs/worker/README.md, "Metrics"). */
import { z } from 'zod';

import type { JobMetrics } from '../job.ts';

const figure = z.number().nonnegative().nullable().catch(null).default(null);

/** A worker's metrics in an answer; undefined where there are none. Figures that cannot be read are not known. */
export const workerMetrics: z.ZodType<JobMetrics | undefined> = z
  .object({
    queueMs: figure,
    bootMs: figure,
    modelLoadMs: figure,
    samplingMs: figure,
    encodeMs: figure,
    uploadMs: figure,
    gpu: z.string().min(1).nullable().catch(null).default(null),
    peakMemoryBytes: figure,
  })
  .optional()
  .catch(undefined);

/** The parts of a snapshot that a worker's metrics tell. */
export function measured(metrics: JobMetrics | undefined): {
  readonly metrics?: JobMetrics;
  readonly gpu?: string;
} {
  if (metrics === undefined) return {};
  return { metrics, ...(metrics.gpu === null ? {} : { gpu: metrics.gpu }) };
}
