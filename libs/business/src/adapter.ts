import type { JobSnapshot, JobSubmission } from './job.ts';
import type { RateLimits } from './policy/rate-limiter.ts';

/** How a backend knows a job; JSON, kept by the service and given back to the adapter. */
export type ProviderRef = Readonly<Record<string, string>>;

/** Options of every call. */
export interface CallOptions {
  readonly signal: AbortSignal;
}

/** What an adapter's event stream says: a snapshot, a preview, or an output that is ready. */
export type AdapterEvent =
  | {
      readonly type: 'snapshot';
      readonly snapshot: Pick<JobSnapshot, 'status' | 'progress' | 'queuePosition'>;
    }
  | {
      readonly type: 'preview';
      readonly node: string | undefined;
      readonly contentType: string;
      readonly bytes: Uint8Array;
    }
  | { readonly type: 'output'; readonly nodeId: string; readonly name: string };

/** What a backend says of itself. */
export interface BackendHealth {
  /** Jobs that wait and run there, where it tells. */
  readonly queued: number | undefined;
  readonly running: number | undefined;
  /** Workers that could take a job at once, where it tells. */
  readonly idleWorkers: number | undefined;
}

/**
 * One backend's wire: it sends, asks and reads, and retries nothing. Policy is the service's.
 * Optional methods are capabilities: what a backend cannot do, its adapter does not have.
 */
export interface Adapter {
  /** Sends a job. Its errors say in `accepted` whether the backend may have taken it. */
  submit(job: JobSubmission, options: CallOptions): Promise<ProviderRef>;
  /** Asks for a job's state, outputs included. */
  status(ref: ProviderRef, options: CallOptions): Promise<JobSnapshot>;
  /** Cancels a job; one that has ended stays as it is. */
  cancel(ref: ProviderRef, options: CallOptions): Promise<void>;
  /** Follows a job live. The stream may end at any time; only `status` is authoritative. */
  events?(ref: ProviderRef, options: CallOptions): AsyncIterable<AdapterEvent>;
  /** Finds a job by the id that the service minted; undefined when the backend never took it. */
  lookup?(jobId: string, options: CallOptions): Promise<ProviderRef | undefined>;
  /**
   * Sends a job again whose first answer was lost, where the workers run a job id once however often it is sent. The
   * snapshot of a job that another submission runs says so in `movedTo`.
   */
  resubmit?(job: JobSubmission, options: CallOptions): Promise<ProviderRef>;
  /**
   * Reads what the backend's webhook says of a job; undefined where that is not enough to go by. The service has proved
   * by the job's own secret that it comes from the backend.
   */
  fromWebhook?(envelope: unknown): { readonly ref: ProviderRef; readonly snapshot: JobSnapshot } | undefined;
  /** Asks the backend how it is, without a job. */
  health?(options: CallOptions): Promise<BackendHealth>;
  /** The provider's published limits of requests. */
  readonly limits?: RateLimits;
  /** Milliseconds that a result is kept after the job's end. */
  readonly retentionMs?: number;
  /** Whose prices apply: `modal`, `runpod`, … */
  readonly provider?: string;
  /** Closes connections. */
  close(): Promise<void>;
}
