import type { ApiWorkflow, FileInput } from '@ryla/workflow';

import type { ProviderRef } from './adapter.ts';
import type { ComfyUIServiceError } from './errors.ts';
import type { JobOutput } from './output.ts';
import type { JobCost } from './store/job-record.ts';

/** States of a job; the last four are final. */
export type JobStatus = 'queued' | 'running' | 'canceling' | 'succeeded' | 'failed' | 'canceled' | 'expired';

/** Whether a status is final. */
export function isTerminal(status: JobStatus): boolean {
  return status === 'succeeded' || status === 'failed' || status === 'canceled' || status === 'expired';
}

/** How far a running job is. */
export interface JobProgress {
  /** Done fraction, 0 to 1. */
  readonly value: number;
  readonly nodesDone: number;
  readonly nodesTotal: number;
  readonly node: string | undefined;
  readonly nodeClass: string | undefined;
  readonly step: number | undefined;
  readonly steps: number | undefined;
}

/** Milliseconds of a job's phases; `null` where the backend does not tell. */
export interface JobTimings {
  readonly queueMs: number | null;
  readonly coldStartMs: number | null;
  readonly executionMs: number | null;
}

/**
 * Where a worker's time went and what the job needed, as our workers measure it (libs/worker/README.md, "Metrics");
 * milliseconds and bytes, `null` where unknown. What is none of these phases is in {@link JobTimings.executionMs} only.
 */
export interface JobMetrics {
  /** From the acceptance to the worker, without the start of one. */
  readonly queueMs: number | null;
  /** Start of ComfyUI that the job waited for; 0 when it was warm. */
  readonly bootMs: number | null;
  readonly modelLoadMs: number | null;
  readonly samplingMs: number | null;
  /** Latents decoded, pictures and videos written. */
  readonly encodeMs: number | null;
  /** Outputs brought to where the caller gets them. */
  readonly uploadMs: number | null;
  /** The card as its driver names it. */
  readonly gpu: string | null;
  /** Most of that card's memory that was in use, by all processes. */
  readonly peakMemoryBytes: number | null;
}

/** All that a backend says of a job at one moment. */
export interface JobSnapshot {
  readonly status: JobStatus;
  readonly queuePosition: number | undefined;
  readonly progress: JobProgress | undefined;
  readonly outputs: readonly JobOutput[];
  /** Why it failed. */
  readonly error: ComfyUIServiceError | undefined;
  readonly timings: JobTimings;
  /** What the backend reported beside the outputs of a job that succeeded, such as a node that was left out. */
  readonly warnings?: readonly string[];
  /** The GPU that ran it, where the backend tells. */
  readonly gpu?: string | undefined;
  /** Where the worker's time went, where it tells. */
  readonly metrics?: JobMetrics | undefined;
  /** Another submission of the same job runs it, or has its result: ask for that one from now on. */
  readonly movedTo?: ProviderRef | undefined;
}

/** A snapshot of which only the status is known. */
export const NOTHING_KNOWN = {
  queuePosition: undefined,
  progress: undefined,
  outputs: [],
  error: undefined,
  timings: { queueMs: null, coldStartMs: null, executionMs: null },
} as const satisfies Omit<JobSnapshot, 'status'>;

/** What can be heard of a job. The stream ends with exactly one `finished`. */
export type JobEvent =
  | { readonly type: 'queued'; readonly position: number | undefined }
  /** The run died and is replaced by another of the same job; `attempt` counts from 1. */
  | {
      readonly type: 'restarted';
      readonly attempt: number;
      readonly error: ComfyUIServiceError | undefined;
    }
  /** A worker took the job; `cold` says whether it had to start first, where the backend tells. */
  | { readonly type: 'starting'; readonly cold: boolean | undefined }
  | { readonly type: 'running'; readonly progress: JobProgress | undefined }
  | {
      readonly type: 'preview';
      readonly node: string | undefined;
      readonly contentType: string;
      readonly bytes: Uint8Array;
    }
  | { readonly type: 'output'; readonly output: { readonly nodeId: string; readonly name: string } }
  | {
      readonly type: 'finished';
      readonly status: JobStatus;
      readonly error: ComfyUIServiceError | undefined;
    };

/** A file that the workflow refers to by `name`. */
export interface JobFile {
  readonly name: string;
  readonly source: FileInput;
}

/** A job as an adapter sends it. */
export interface JobSubmission {
  /** Minted by the service before anything is sent. */
  readonly jobId: string;
  /** Name of the endpoint; undefined for a bare workflow. */
  readonly endpoint: string | undefined;
  readonly workflow: ApiWorkflow;
  readonly files: readonly JobFile[];
  /** Where the backend may tell of the job's end; carries its own secret. */
  readonly webhookUrl?: string | undefined;
  /** W3C trace context, for the worker. */
  readonly traceparent?: string | undefined;
}

/** What a job made, and how long it took. */
export interface JobResult<OutputName extends string = string> {
  readonly jobId: string;
  readonly backend: string;
  readonly outputs: readonly JobOutput[];
  /** Outputs by the names of endpoint.json; a node that made several has its first here. */
  readonly named: Readonly<Partial<Record<OutputName, JobOutput>>>;
  readonly timings: JobTimings & { readonly totalMs: number };
  /** Where the time of the run went, and the GPU and memory that it took; undefined where the worker does not tell. */
  readonly metrics?: JobMetrics | undefined;
  /** Runs that it took: 1 unless a machine died. */
  readonly attempts: number;
  /** What it cost, where prices, card and duration are known. */
  readonly cost: JobCost | undefined;
  /** What the backend reported beside the outputs. */
  readonly warnings: readonly string[];
}
