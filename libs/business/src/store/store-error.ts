/** Stable codes of {@link JobStoreError}. */
export type JobStoreErrorCode =
  /** The job id is taken by a job with another payload. */
  | 'idempotency_conflict'
  /** An argument has a wrong form; nothing was read or written. */
  | 'invalid_argument'
  /** The store was closed. */
  | 'store_closed'
  /** What is stored cannot be read as what it should be. */
  | 'store_corrupt'
  /** The database was made by a newer release of this library. */
  | 'store_too_new'
  /** The database did not answer or did not take the write. Whether a write is stored is unknown. */
  | 'store_unavailable'
  /** The database would acknowledge what is not on disk yet. */
  | 'store_not_durable'
  /** There is no such job. */
  | 'unknown_job';

const MARKER = Symbol.for('ryla.business.job-store-error');

/** Everything that a {@link JobStore} rejects with. */
export class JobStoreError extends Error {
  readonly [MARKER] = true;
  readonly code: JobStoreErrorCode;
  readonly jobId: string | undefined;
  /** What to do next, where something can be done. */
  readonly hint: string | undefined;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;

  constructor(
    code: JobStoreErrorCode,
    message: string,
    context: {
      readonly jobId?: string | undefined;
      readonly hint?: string | undefined;
      readonly retryable?: boolean | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.name = 'JobStoreError';
    this.code = code;
    this.jobId = context.jobId;
    this.hint = context.hint;
    this.retryable = context.retryable ?? false;
  }

  /** Recognises the error across copies of this package. */
  static isInstance(value: unknown): value is JobStoreError {
    return value instanceof Error && MARKER in value;
  }
}

/** The error of an id under which nothing is stored. */
export function unknownJob(jobId: string): JobStoreError {
  return new JobStoreError('unknown_job', `There is no job ${jobId} in the store.`, { jobId });
}

/** The error of every call after `close`. */
export function storeClosed(): JobStoreError {
  return new JobStoreError('store_closed', 'The job store was closed.');
}
