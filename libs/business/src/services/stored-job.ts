/** Between what is stored of a job and what the service hands out. */
import { hash } from 'node:crypto';

import { measured } from '../adapters/worker-metrics.ts';
import { ComfyUIServiceError, type ErrorCode, isErrorCode } from '../errors.ts';
import type { JobSnapshot, JobStatus } from '../job.ts';
import type { JobOutput } from '../output.ts';
import type {
  JobRecord,
  StoredError,
  StoredJobStatus,
  StoredOutput,
  StoredTimings,
} from '../store/job-record.ts';

/** The error as it is stored; its cause and details stay behind. */
export function toStoredError(error: ComfyUIServiceError): StoredError {
  return {
    code: error.code,
    message: error.message,
    nodeId: error.nodeId ?? null,
    classType: error.classType ?? null,
    hint: error.hint ?? null,
    retryable: error.retryable,
  };
}

/** The error of a stored job, with all that is known of the job. */
export function fromStoredError(error: StoredError, job: JobRecord): ComfyUIServiceError {
  const code: ErrorCode = isErrorCode(error.code) ? error.code : 'backend_error';
  return new ComfyUIServiceError(code, error.message, {
    jobId: job.id,
    endpoint: job.endpoint ?? undefined,
    backend: job.backend,
    nodeId: error.nodeId ?? undefined,
    classType: error.classType ?? undefined,
    hint: error.hint ?? undefined,
    retryable: error.retryable,
  });
}

/** Why a job that has ended has no result; undefined for one that succeeded. */
export function failureOf(job: JobRecord): ComfyUIServiceError | undefined {
  const context = { jobId: job.id, endpoint: job.endpoint ?? undefined, backend: job.backend };
  if (job.status === 'succeeded') return undefined;
  if (job.error !== null) return fromStoredError(job.error, job);
  switch (job.status) {
    case 'canceled':
      return new ComfyUIServiceError('canceled', `Job ${job.id} was canceled.`, context);
    case 'expired':
      return new ComfyUIServiceError(
        'result_expired',
        `The result of job ${job.id} is no longer kept.`,
        context,
      );
    case 'lost':
      return new ComfyUIServiceError('job_lost', `Nobody knows what became of job ${job.id}.`, context);
    default:
      return new ComfyUIServiceError('backend_error', `Job ${job.id} failed without a reason.`, context);
  }
}

/** An output as it is stored. */
export function toStoredOutput(output: JobOutput, source: StoredOutput['source'] = null): StoredOutput {
  const { nodeId, name, kind, contentType, size, sha256 } = output;
  return { nodeId, name, kind, contentType, size: size ?? null, sha256: sha256 ?? null, source };
}

/** A stored status as callers see it: a lost job has failed. */
export function toJobStatus(status: StoredJobStatus): JobStatus {
  return status === 'lost' ? 'failed' : status;
}

/** A job as the store knows it, without a word from the backend. */
export function storedSnapshot(job: JobRecord): JobSnapshot {
  return {
    status: toJobStatus(job.status),
    queuePosition: undefined,
    progress: undefined,
    outputs: [],
    error: failureIfEnded(job),
    timings: job.timings,
    ...measured(job.metrics ?? undefined),
  };
}

function failureIfEnded(job: JobRecord): ComfyUIServiceError | undefined {
  return job.finishedAt === null || job.status === 'succeeded' ? undefined : failureOf(job);
}

/** Timings with what a snapshot adds. */
export function mergedTimings(stored: StoredTimings, { timings }: JobSnapshot): StoredTimings {
  return {
    ...stored,
    queueMs: timings.queueMs ?? stored.queueMs,
    coldStartMs: timings.coldStartMs ?? stored.coldStartMs,
    executionMs: timings.executionMs ?? stored.executionMs,
  };
}

/**
 * The card that a job is paid for, as `costOf` and endpoint.json name it: the one that ran it, as many as the endpoint asks
 * for (`H100:2`), or else the one that it asks for.
 */
export function billedCard(ran: string | undefined, asked: string | null | undefined): string | undefined {
  if (ran === undefined) return asked ?? undefined;
  const count = /:\d+$/.exec(asked ?? '')?.[0] ?? '';
  return `${ran}${count}`;
}

/**
 * The id under which an attempt is sent: the job's own for the first, and one made of it for each further one, so that a
 * backend that runs an id once runs every attempt once.
 */
export function attemptId(jobId: string, attempt: number): string {
  if (attempt === 1) return jobId;
  const hex = hash('sha256', `${jobId}/${attempt}`);
  // A UUID of version 8: made of data of one's own (RFC 9562).
  const variant = ((Number.parseInt(hex.slice(16, 18), 16) & 0x3f) | 0x80).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(18, 20)}-${hex.slice(20, 32)}`;
}
