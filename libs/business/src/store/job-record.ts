import type { ProviderRef } from '../adapter.ts';
import type { JobMetrics, JobStatus, JobTimings } from '../job.ts';
import type { OutputDescription } from '../output.ts';

/** States of a stored job: those of {@link JobStatus}, and `lost` where nobody can say any more how it ended. */
export type StoredJobStatus = JobStatus | 'lost';

/**
 * How far the sending of a job is. `intended`: stored, perhaps sent. `submitted`: taken by the backend.
 * `unknown`: the answer was lost. `refused`: surely not taken, so that it may be sent again, elsewhere too.
 */
export type SubmissionState = 'intended' | 'submitted' | 'unknown' | 'refused';

/** Milliseconds of a job's phases, transfers included; `null` where unknown. */
export interface StoredTimings extends JobTimings {
  readonly uploadMs: number | null;
  readonly downloadMs: number | null;
}

/** What a job costs. */
export interface JobCost {
  /** US dollars, kept to nine decimals. */
  readonly usd: number;
  /** Whether it was reckoned before the job ran: such a cost counts towards a spend limit until it is replaced. */
  readonly estimated: boolean;
  /**
   * The GPU that ran it, as the price table names it; `null` where it is not known or the table does not have it: the
   * provider's dearest card was counted then.
   */
  readonly gpu: string | null;
  /** Date of the price table, `YYYY-MM-DD`. */
  readonly pricesOf: string | null;
}

/** Why a job failed, as stored. */
export interface StoredError {
  /** A code of `ComfyUIServiceError`. */
  readonly code: string;
  readonly message: string;
  readonly nodeId: string | null;
  readonly classType: string | null;
  readonly hint: string | null;
  readonly retryable: boolean;
}

/** A string, number, boolean, `null`, or a list or object of such. */
export type JsonValue =
  string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** An output of a job, as stored: its description and what its adapter needs to open it again. */
export interface StoredOutput extends Omit<OutputDescription, 'size' | 'sha256'> {
  /** Bytes; `null` where unknown. */
  readonly size: number | null;
  /** Hexadecimal; `null` where unknown. */
  readonly sha256: string | null;
  /** Where the content is, in the adapter's words; never the content itself. */
  readonly source: JsonValue;
}

/** A job as it is stored. Times are milliseconds since 1970; `null` means not known, or not yet. */
export interface JobRecord {
  /** UUID, minted by the caller. */
  readonly id: string;
  /** 1 when created, and one more with every change. */
  readonly version: number;
  /** Name of the endpoint; `null` for a bare workflow. */
  readonly endpoint: string | null;
  /** Name of the backend; changes only after a refused submission. */
  readonly backend: string;
  /** Key by which routing chose the backend. */
  readonly routeKey: string | null;
  /** Hash of all that is sent; guards the id against being used for another job. */
  readonly payloadHash: string;
  /** 1, and one more for every GPU run that replaces one that died. */
  readonly attempt: number;
  readonly submission: SubmissionState;
  /** How the backend knows the job. */
  readonly providerRef: ProviderRef | null;
  readonly status: StoredJobStatus;
  /** By the store's clock. */
  readonly createdAt: number;
  readonly submittedAt: number | null;
  readonly startedAt: number | null;
  /** Set by the store's clock when a change to a final status does not say it. */
  readonly finishedAt: number | null;
  /** When the backend forgets the result. */
  readonly resultExpiresAt: number | null;
  readonly timings: StoredTimings;
  /** What the worker measured; absent in jobs of older releases. */
  readonly metrics?: JobMetrics | null;
  /** The card that the endpoint asks for, for what the backend does not tell; absent in jobs of older releases. */
  readonly gpu?: string | null;
  readonly cost: JobCost | null;
  readonly error: StoredError | null;
  readonly outputs: readonly StoredOutput[];
  /** What the backend reported beside the outputs of a job that succeeded. */
  readonly warnings: readonly string[];
  /** Hash of the secret in the job's webhook URL; never the secret. */
  readonly webhookSecretHash: string | null;
  /** W3C trace context of the submission. */
  readonly traceparent: string | null;
  readonly tags: readonly string[];
}

/** A job before it is sent. */
export interface JobIntent extends Pick<JobRecord, 'id' | 'endpoint' | 'backend' | 'payloadHash'> {
  readonly routeKey?: string | null;
  readonly gpu?: string | null;
  /** An estimate, for a spend limit. */
  readonly cost?: JobCost | null;
  readonly webhookSecretHash?: string | null;
  readonly traceparent?: string | null;
  readonly tags?: readonly string[];
  /**
   * What is needed to send the job again after a crash, in the caller's own form. Kept beside the record until the
   * job has ended, then deleted.
   */
  readonly payload?: string;
}

/** Changes of a job; fields that are absent stay. What is an object or a list is replaced as a whole. */
export type JobPatch = Partial<
  Omit<
    JobRecord,
    'id' | 'version' | 'endpoint' | 'routeKey' | 'payloadHash' | 'createdAt' | 'gpu' | 'traceparent'
  >
>;

/** Timings of which nothing is known. */
export const UNKNOWN_TIMINGS: StoredTimings = {
  queueMs: null,
  coldStartMs: null,
  executionMs: null,
  uploadMs: null,
  downloadMs: null,
};

/** Final states, in which a job stays. */
export const FINAL_STATUSES = ['succeeded', 'failed', 'canceled', 'expired', 'lost'] as const;

/** Whether a stored job has ended. */
export function hasEnded({ status }: Pick<JobRecord, 'status'>): boolean {
  return FINAL_STATUSES.some((final) => final === status);
}
