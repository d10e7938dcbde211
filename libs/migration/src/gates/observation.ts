/** What one job tells about the side that ran it. */
import { hasEnded, type JobRecord } from '@ryla/business';

/** Tag of jobs that run on the other side for comparison; nobody waits for them. */
export const SHADOW_TAG = 'migration:shadow';

/** Tag of jobs that a comparison runs, with inputs and a rhythm of its own: no traffic, and nothing that gates count. */
export const COMPARE_TAG = 'migration:compare';

/** Tags of a shadow job once its outputs were compared with those of the real one. */
export const PARITY_TAGS = { same: 'migration:parity:same', differs: 'migration:parity:differs' } as const;

/** Errors that the caller made: the same job fails on the other side too. */
const CALLERS_ERRORS: ReadonlySet<string> = new Set([
  'invalid_input',
  'invalid_input_file',
  'invalid_workflow',
  'missing_input',
  'unknown_input',
  'payload_too_large',
  'spend_limit_reached',
]);

/** What counts of a job. Times in milliseconds, moments since 1970. */
export interface Observation {
  readonly id: string;
  readonly backend: string;
  readonly createdAt: number;
  /** When it ended, or when it was given up as stuck. */
  readonly knownAt: number;
  readonly isShadow: boolean;
  /** By what routing chose the backend. */
  readonly routeKey: string;
  readonly isLost: boolean;
  /** Undefined when it says nothing: canceled, the caller's own error, or stuck. */
  readonly isFailed: boolean | undefined;
  /** Undefined where a job that failed has no measurements by right. */
  readonly isMissing: boolean | undefined;
  readonly queueMs: number | undefined;
  readonly coldStartMs: number | undefined;
  readonly executionMs: number | undefined;
  readonly usdPerPicture: number | undefined;
  readonly differs: boolean | undefined;
}

/** What a job tells; undefined as long as it says nothing yet, and for a comparison's. */
export function observe(job: JobRecord, now: number, stuckAfterMs: number): Observation | undefined {
  if (job.tags.includes(COMPARE_TAG)) return undefined;
  const deadline = job.createdAt + stuckAfterMs;
  const isStuck = (job.finishedAt ?? now) > deadline;
  if (!hasEnded(job) && !isStuck) return undefined;
  const hasSucceeded = job.status === 'succeeded';
  const { queueMs, coldStartMs, executionMs } = job.timings;
  const usd = job.cost === null || job.cost.estimated ? undefined : job.cost.usd;
  return {
    id: job.id,
    backend: job.backend,
    createdAt: job.createdAt,
    // A job that took too long was given up then: the order in which things became known does not change afterwards.
    knownAt: isStuck ? deadline : (job.finishedAt ?? deadline),
    isShadow: job.tags.includes(SHADOW_TAG),
    routeKey: job.routeKey ?? job.id,
    isLost: job.status === 'lost',
    isFailed: hasEnded(job) ? failureOf(job) : undefined,
    isMissing: missingOf(job, isStuck, usd),
    queueMs: queueMs ?? undefined,
    coldStartMs: coldStartMs === null || coldStartMs <= 0 ? undefined : coldStartMs,
    executionMs: hasSucceeded ? (executionMs ?? undefined) : undefined,
    usdPerPicture: hasSucceeded && usd !== undefined ? usd / Math.max(1, job.outputs.length) : undefined,
    differs: parityOf(job.tags),
  };
}

function failureOf({ status, error }: JobRecord): boolean | undefined {
  if (status === 'succeeded') return false;
  if (status === 'canceled') return undefined;
  return error !== null && CALLERS_ERRORS.has(error.code) ? undefined : true;
}

function missingOf(job: JobRecord, isStuck: boolean, usd: number | undefined): boolean | undefined {
  if (isStuck) return true;
  if (job.status !== 'succeeded') return undefined;
  return job.timings.executionMs === null || usd === undefined;
}

function parityOf(tags: readonly string[]): boolean | undefined {
  if (tags.includes(PARITY_TAGS.differs)) return true;
  return tags.includes(PARITY_TAGS.same) ? false : undefined;
}
