import { z } from 'zod';

/** A range that Modal takes, in the unit that messages name. */
export interface Limit {
  readonly minimum: number;
  readonly maximum: number;
  readonly unit: string;
}

/** Longest and shortest timeout that Modal takes (Modal's docs: 1 s to 24 h). */
export const TIMEOUT_SECONDS = { minimum: 1, maximum: 86_400, unit: 'seconds' } as const;

/** Idle time after which a container ends (Modal's docs: 2 s to 20 min). */
export const SCALEDOWN_SECONDS = { minimum: 2, maximum: 1_200, unit: 'seconds' } as const;

/** Cores of one container (Modal's docs: at least 0.125). */
export const CPU_CORES = { minimum: 0.125, maximum: 64, unit: 'cores' } as const;

/** Memory of one container (Modal's docs: up to 336 GiB). */
export const MEMORY_MIB = { minimum: 128, maximum: 344_064, unit: 'MiB' } as const;

/** Requests that one container of a web function takes at once (Modal's docs: up to 1,000). */
export const WEB_CONCURRENCY = { minimum: 1, maximum: 1_000, unit: 'requests' } as const;

/** GPUs that Modal offers; an entry may have a count, such as `H100:2` (Modal's docs, 2026-11). */
export const GPUS = [
  'T4',
  'L4',
  'A10',
  'A10G',
  'L40S',
  'A100',
  'A100-40GB',
  'A100-80GB',
  'H100',
  'H100!',
  'H200',
  'B200',
] as const;

/** A number within a limit; the message of one outside names the range. */
export function within(limit: Limit): z.ZodNumber {
  const message = range(limit);
  return z.number().min(limit.minimum, message).max(limit.maximum, message).describe(limit.unit);
}

/** The same for whole numbers. */
export function wholeWithin(limit: Limit): z.ZodInt {
  const message = range(limit);
  return z.int().min(limit.minimum, message).max(limit.maximum, message).describe(limit.unit);
}

function range({ minimum, maximum, unit }: Limit): string {
  return `Modal takes ${String(minimum)} to ${String(maximum)} ${unit}`;
}
