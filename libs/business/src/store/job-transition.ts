import {
  hasEnded,
  type JobIntent,
  type JobPatch,
  type JobRecord,
  type StoredJobStatus,
  type SubmissionState,
  UNKNOWN_TIMINGS,
} from './job-record.ts';

/** Why a change was not made: somebody changed the job first, it has ended, or it cannot go from here to there. */
export type Refusal = 'stale_version' | 'ended' | 'not_allowed';

/** What became of a change. */
export type Transition =
  | { readonly applied: true; readonly job: JobRecord }
  | { readonly applied: false; readonly reason: Refusal; readonly job: JobRecord };

/** What may still be learnt of a job that has ended. */
const AFTER_THE_END: ReadonlySet<string> = new Set<keyof JobPatch>([
  'cost',
  'timings',
  'metrics',
  'outputs',
  'resultExpiresAt',
  'tags',
]);

/** Order in which a job goes through its states within one attempt; it may skip, never go back. */
const STATUS_ORDER: Readonly<Record<StoredJobStatus, number>> = {
  queued: 0,
  running: 1,
  canceling: 2,
  succeeded: 3,
  failed: 3,
  canceled: 3,
  expired: 3,
  lost: 3,
};

const NEXT_SUBMISSION: Readonly<Record<SubmissionState, readonly SubmissionState[]>> = {
  intended: ['submitted', 'unknown', 'refused'],
  unknown: ['submitted', 'refused'],
  refused: ['intended'],
  submitted: [],
};

/** The record of a job that was not sent yet. */
export function intendedJob(intent: JobIntent, now: number): JobRecord {
  return {
    id: intent.id,
    version: 1,
    endpoint: intent.endpoint,
    backend: intent.backend,
    routeKey: intent.routeKey ?? null,
    payloadHash: intent.payloadHash,
    attempt: 1,
    submission: 'intended',
    providerRef: null,
    status: 'queued',
    createdAt: Math.trunc(now),
    submittedAt: null,
    startedAt: null,
    finishedAt: null,
    resultExpiresAt: null,
    timings: UNKNOWN_TIMINGS,
    metrics: null,
    gpu: intent.gpu ?? null,
    cost: intent.cost ?? null,
    error: null,
    outputs: [],
    warnings: [],
    webhookSecretHash: intent.webhookSecretHash ?? null,
    traceparent: intent.traceparent ?? null,
    tags: intent.tags ?? [],
  };
}

/**
 * Applies a change to a stored job, as a whole or not at all.
 *
 * - A job that has ended keeps everything but `cost`, `timings`, `metrics`, `outputs`, `resultExpiresAt` and `tags`.
 * - Within an attempt the status goes queued → running → canceling → final: it may skip, never go back. A higher
 *   `attempt` may begin again, unless the job is being canceled.
 * - The submission goes intended → submitted | unknown | refused, unknown → submitted | refused (a look-up told) and
 *   refused → intended (it is sent again). A higher `attempt` may begin again.
 * - The backend changes only where the stored submission is `refused`.
 */
export function transition(stored: JobRecord, version: number, patch: JobPatch, now: number): Transition {
  const refuse = (reason: Refusal): Transition => ({ applied: false, reason, job: stored });
  if (stored.version !== version) return refuse('stale_version');
  if (hasEnded(stored)) {
    const names = Object.keys(patch);
    if (!names.every((name) => AFTER_THE_END.has(name))) return refuse('ended');
  } else if (!isAllowed(stored, patch)) return refuse('not_allowed');
  const job = { ...stored, ...patch, version: stored.version + 1 };
  const finishedAt = hasEnded(job) ? Math.trunc(job.finishedAt ?? now) : null;
  return { applied: true, job: { ...job, finishedAt } };
}

function isAllowed(stored: JobRecord, patch: JobPatch): boolean {
  const { attempt, submission, status, backend } = { ...stored, ...patch };
  if (attempt < stored.attempt || !Number.isSafeInteger(attempt)) return false;
  if (backend !== stored.backend && stored.submission !== 'refused') return false;
  if (attempt > stored.attempt) return stored.status !== 'canceling' || STATUS_ORDER[status] > 2;
  if (STATUS_ORDER[status] < STATUS_ORDER[stored.status]) return false;
  return submission === stored.submission || NEXT_SUBMISSION[stored.submission].includes(submission);
}
