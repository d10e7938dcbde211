import type { JobSnapshot, JobSubmission } from './job.ts';

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
  /** Closes connections. */
  close(): Promise<void>;
}
