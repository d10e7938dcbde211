import type { ApiWorkflow, FileInput } from '@ryla/workflow';

import type { ComfyUIServiceError } from './errors.ts';
import type { JobOutput } from './output.ts';

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

/** All that a backend says of a job at one moment. */
export interface JobSnapshot {
  readonly status: JobStatus;
  readonly queuePosition: number | undefined;
  readonly progress: JobProgress | undefined;
  readonly outputs: readonly JobOutput[];
  /** Why it failed. */
  readonly error: ComfyUIServiceError | undefined;
  readonly timings: JobTimings;
}

/** What can be heard of a job. The stream ends with exactly one `finished`. */
export type JobEvent =
  | { readonly type: 'queued'; readonly position: number | undefined }
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
}

/** What a job made, and how long it took. */
export interface JobResult<OutputName extends string = string> {
  readonly jobId: string;
  readonly backend: string;
  readonly outputs: readonly JobOutput[];
  /** Outputs by the names of endpoint.json; a node that made several has its first here. */
  readonly named: Readonly<Partial<Record<OutputName, JobOutput>>>;
  readonly timings: JobTimings & { readonly totalMs: number };
}
