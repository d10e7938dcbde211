/** A backend in memory, for tests of applications: it runs nothing and does what its script says. */
import type { OutputKind } from '@ryla/workflow';

import type { Adapter, CallOptions, ProviderRef } from '../adapter.ts';
import { ComfyUIServiceError } from '../errors.ts';
import { bytesOf, contentOf, contentTypeOf } from '../file-content.ts';
import type { JobMetrics, JobSnapshot, JobSubmission } from '../job.ts';
import { JobOutput } from '../output.ts';
import { greyPng } from '../testing/png.ts';
import { measured } from './worker-metrics.ts';

/** An output that a scripted job makes. */
export interface MemoryOutput {
  readonly nodeId: string;
  readonly name: string;
  readonly bytes: Uint8Array;
  /** `image` without it. */
  readonly kind?: OutputKind;
  /** By the name's extension without it. */
  readonly contentType?: string;
}

/** What becomes of a submission. */
export type MemoryOutcome =
  /** The job succeeds, `afterMs` milliseconds after it was taken (at once without it). */
  | {
      readonly type: 'succeed';
      readonly outputs?: readonly MemoryOutput[];
      /** What the worker measured; nothing without it. */
      readonly metrics?: JobMetrics;
      readonly afterMs?: number;
      readonly answer?: 'lost';
    }
  /** The job fails with this error. */
  | {
      readonly type: 'fail';
      readonly error: ComfyUIServiceError;
      readonly afterMs?: number;
      readonly answer?: 'lost';
    }
  /** The job runs until it is canceled. */
  | { readonly type: 'never'; readonly answer?: 'lost' }
  /** The submission is not taken: rejected with this error, or with a broken connection without one. */
  | { readonly type: 'refuse'; readonly error?: ComfyUIServiceError };

/** A submission as the backend received it. */
export interface MemorySubmission {
  readonly job: JobSubmission;
  /** The files' contents by their names. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** 1 for the first submission of this job id, and so on. */
  readonly attempt: number;
}

/** Options of {@link memory}. */
export interface MemoryOptions {
  /**
   * What becomes of a submission: always the same, or decided for each. Without it, every node whose class begins
   * with Save makes a small grey PNG.
   */
  readonly outcome?: MemoryOutcome | ((submission: MemorySubmission) => MemoryOutcome);
  /**
   * Whether jobs can be looked up by our id, as on Modal; the same id is then taken once. Default true. Without it
   * every submission is a job of its own, as on RunPod.
   */
  readonly lookup?: boolean;
  /** Milliseconds since any moment; Date.now without it. Delays pass by this clock. */
  readonly clock?: { now(): number };
}

/** An adapter with a memory of what it was asked to do. */
export interface MemoryAdapter extends Adapter {
  /** Every submission that arrived, refused ones included, oldest first. */
  readonly received: readonly MemorySubmission[];
  /** How often a job was started: more than once is what must not happen. */
  executions(jobId: string): number;
  /** Ids of the jobs that were asked to stop, in order. */
  readonly canceled: readonly string[];
}

interface MemoryJob {
  readonly outcome: Exclude<MemoryOutcome, { type: 'refuse' }>;
  readonly takenAt: number;
  canceledAt: number | undefined;
}

/** Largest file that is taken, in bytes. */
const MAXIMUM_FILE_BYTES = 100 * 1024 * 1024;

/** A backend that does what its script says. */
export function memory(options: MemoryOptions = {}): MemoryAdapter {
  const clock = options.clock ?? { now: Date.now };
  const hasLookup = options.lookup ?? true;
  const jobs = new Map<string, MemoryJob>();
  const executions = new Map<string, number>();
  const received: MemorySubmission[] = [];
  const canceled: string[] = [];

  function jobOf(ref: ProviderRef, { signal }: CallOptions): MemoryJob {
    signal.throwIfAborted();
    const job = jobs.get(ref['id'] ?? '');
    if (job === undefined)
      throw new ComfyUIServiceError('job_not_found', `There is no job ${ref['id'] ?? ''}.`);
    return job;
  }

  function outcomeOf(submission: MemorySubmission): MemoryOutcome {
    const { outcome = simulated } = options;
    return typeof outcome === 'function' ? outcome(submission) : outcome;
  }

  const adapter: MemoryAdapter = {
    received,
    canceled,
    executions: (jobId) => executions.get(jobId) ?? 0,
    async submit(job, { signal }) {
      signal.throwIfAborted();
      const files = new Map<string, Uint8Array>();
      for (const { name, source } of job.files) {
        const content = await contentOf(source, {
          signal,
          maximumBytes: MAXIMUM_FILE_BYTES,
          fetch: noNetwork,
        });
        files.set(name, await bytesOf(content, signal));
      }
      const attempt = received.filter((earlier) => earlier.job.jobId === job.jobId).length + 1;
      const submission: MemorySubmission = { job, files, attempt };
      received.push(submission);
      const id = hasLookup ? job.jobId : `${job.jobId}-${attempt}`;
      if (jobs.has(id)) {
        const message = `Job ${job.jobId} was submitted before.`;
        throw new ComfyUIServiceError('submission_unknown', message, { accepted: 'unknown' });
      }
      const outcome = outcomeOf(submission);
      if (outcome.type === 'refuse') throw outcome.error ?? broken();
      executions.set(job.jobId, (executions.get(job.jobId) ?? 0) + 1);
      jobs.set(id, { outcome, takenAt: clock.now(), canceledAt: undefined });
      if (outcome.answer === 'lost') throw broken();
      return { id };
    },
    async status(ref, callOptions) {
      await Promise.resolve();
      return snapshotOf(jobOf(ref, callOptions), clock.now());
    },
    async cancel(ref, callOptions) {
      await Promise.resolve();
      callOptions.signal.throwIfAborted();
      const job = jobs.get(ref['id'] ?? '');
      canceled.push(ref['id'] ?? '');
      if (job !== undefined && snapshotOf(job, clock.now()).status === 'running')
        job.canceledAt = clock.now();
    },
    close: () => Promise.resolve(),
  };
  if (!hasLookup) return adapter;
  return {
    ...adapter,
    async lookup(jobId, { signal }) {
      await Promise.resolve();
      signal.throwIfAborted();
      return jobs.has(jobId) ? { id: jobId } : undefined;
    },
  };
}

/** Every node that saves makes a small grey picture. */
function simulated({ job }: MemorySubmission): MemoryOutcome {
  const saves = Object.entries(job.workflow).filter(([, { class_type }]) => class_type.startsWith('Save'));
  const outputs = saves.map(([nodeId]) => ({ nodeId, name: `${nodeId}_00001_.png`, bytes: greyPng(8, 8) }));
  return { type: 'succeed', outputs };
}

function snapshotOf({ outcome, takenAt, canceledAt }: MemoryJob, now: number): JobSnapshot {
  const executionMs = now - takenAt;
  const base = {
    queuePosition: undefined,
    progress: undefined,
    outputs: [],
    error: undefined,
    timings: { queueMs: 0, coldStartMs: 0, executionMs: null },
  };
  if (canceledAt !== undefined) return { ...base, status: 'canceled' };
  if (outcome.type === 'never' || executionMs < (outcome.afterMs ?? 0)) return { ...base, status: 'running' };
  const timings = { ...base.timings, executionMs: outcome.afterMs ?? 0 };
  if (outcome.type === 'fail') return { ...base, status: 'failed', error: outcome.error, timings };
  const outputs = (outcome.outputs ?? []).map(toOutput);
  return { ...base, status: 'succeeded', outputs, timings, ...measured(outcome.metrics) };
}

function toOutput({ nodeId, name, bytes, kind = 'image', contentType }: MemoryOutput): JobOutput {
  const description = { nodeId, name, kind, contentType: contentType ?? contentTypeOf(name) };
  return new JobOutput({ ...description, size: bytes.length, sha256: undefined }, async function* ({
    signal,
    offset,
  }) {
    signal.throwIfAborted();
    yield await Promise.resolve(bytes.subarray(offset));
  });
}

function broken(): ComfyUIServiceError {
  return new ComfyUIServiceError('backend_unreachable', 'The connection was reset.', {
    accepted: 'unknown',
    retryable: true,
  });
}

/** A test's backend asks nobody. */
function noNetwork(url: string): AsyncIterable<Uint8Array> {
  throw new ComfyUIServiceError('not_supported', `The memory adapter does not fetch ${url}.`, {
    accepted: 'no',
    hint: 'Give the file as bytes, path or stream.',
  });
}
