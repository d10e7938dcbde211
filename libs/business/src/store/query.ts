/** What the implementations of the store share: cursors, checks of arguments, sums, quantiles. */
import type { JobIntent, StoredJobStatus } from './job-record.ts';
import type { CostSum, DurationQuantiles, Lease } from './job-store.ts';
import { NANO } from './record-codec.ts';
import { JobStoreError } from './store-error.ts';

/** Jobs on a page that names no limit, and the most that one may have. */
export const PAGE = { standard: 100, largest: 1_000 } as const;

/** Jobs whose execution times stand for an endpoint's, when a call does not say how many. */
export const DURATIONS_OF_LAST = 200;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const MILLISECONDS_OF_A_DAY = 86_400_000;

/** Where a page of a list begins: after this job. */
export interface Position {
  readonly createdAt: number;
  readonly id: string;
}

function invalid(message: string): JobStoreError {
  return new JobStoreError('invalid_argument', message);
}

/** Checks an intent before anything is written. */
export function checkIntent({ id, payloadHash }: JobIntent): void {
  if (!UUID.test(id)) throw invalid(`A job's id is a UUID in lower case, not ${JSON.stringify(id)}.`);
  if (payloadHash === '') throw invalid(`Job ${id} has no payload hash.`);
}

/** The error of an id that was used for two different jobs. */
export function idempotencyConflict(jobId: string): JobStoreError {
  return new JobStoreError('idempotency_conflict', `Job ${jobId} is stored already, with another payload.`, {
    jobId,
    hint: 'Use a new id for a new job, and the same inputs for a repeated one.',
  });
}

/** Checks a lease. */
export function checkLease({ owner, ms }: Lease): void {
  if (owner === '') throw invalid('The owner of a lease needs a name.');
  if (!Number.isSafeInteger(ms) || ms <= 0)
    throw invalid(`A lease lasts a whole number of milliseconds, not ${ms}.`);
}

/** Checks how many are asked for. */
export function checkLimit(limit: number): number {
  if (!Number.isSafeInteger(limit) || limit < 1) throw invalid(`A limit is at least 1, not ${limit}.`);
  return limit;
}

/** The limit of a page. */
export function pageLimit(limit: number = PAGE.standard): number {
  return Math.min(checkLimit(limit), PAGE.largest);
}

/** A cursor of a position. */
export function toCursor({ createdAt, id }: Position): string {
  return Buffer.from(`${createdAt} ${id}`).toString('base64url');
}

/** The position of a cursor. */
export function fromCursor(cursor: string | undefined): Position | undefined {
  if (cursor === undefined) return undefined;
  const [createdAt = '', id = ''] = Buffer.from(cursor, 'base64url').toString().split(' ');
  if (!/^\d{1,15}$/.test(createdAt) || !UUID.test(id))
    throw invalid(`${JSON.stringify(cursor)} is no cursor of a list of jobs.`);
  return { createdAt: Number(createdAt), id };
}

/** Nearest-rank quantiles of execution times. */
export function toQuantiles(executionMs: readonly number[], quantiles: readonly number[]): DurationQuantiles {
  const wrong = quantiles.find((quantile) => !(quantile >= 0 && quantile <= 1));
  if (wrong !== undefined) throw invalid(`A quantile is between 0 and 1, not ${wrong}.`);
  const sorted = executionMs.toSorted((a, b) => a - b);
  return {
    count: sorted.length,
    executionMs: quantiles.flatMap(
      (quantile) => sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)] ?? [],
    ),
  };
}

/** A row of costs as a database sums it; days are counted from 1970. */
export interface CostRow {
  readonly key: string | number | null;
  readonly jobs: number;
  readonly nano: number;
}

/** Sums of costs in their public form and order. */
export function toCostSums(by: 'endpoint' | 'backend' | 'day', rows: readonly CostRow[]): CostSum[] {
  return rows
    .map(({ key, jobs, nano }) => ({
      key: by === 'day' ? toDay(Number(key)) : key === null ? null : String(key),
      jobs,
      usd: nano / NANO,
    }))
    .sort((a, b) => Number(a.key !== null) - Number(b.key !== null) || compareText(a.key ?? '', b.key ?? ''));
}

function toDay(day: number): string {
  return new Date(day * MILLISECONDS_OF_A_DAY).toISOString().slice(0, 10);
}

/** The day of a moment, counted from 1970 in UTC. */
export function dayOf(moment: number): number {
  return Math.floor(moment / MILLISECONDS_OF_A_DAY);
}

/** Order of two texts by their code units, as the databases order what is ASCII. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Counts by state from a database's rows. */
export function toCounts(
  rows: readonly { readonly status: string; readonly jobs: number }[],
): Record<StoredJobStatus, number> {
  const of = (status: StoredJobStatus): number => rows.find((row) => row.status === status)?.jobs ?? 0;
  return {
    queued: of('queued'),
    running: of('running'),
    canceling: of('canceling'),
    succeeded: of('succeeded'),
    failed: of('failed'),
    canceled: of('canceled'),
    expired: of('expired'),
    lost: of('lost'),
  };
}
