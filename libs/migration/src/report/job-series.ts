/** What the job store has of both sides over the time of a migration, in equal spans of time. */
import type { JobRecord, JobStore } from '@ryla/business';

import { observe, SHADOW_TAG } from '../gates/observation.ts';
import { quantileOf } from '../statistics/ratio-intervals.ts';

/** Jobs on a page of the store's list. */
const PAGE = 1_000;

/** Jobs that are read at most, the newest first: a report must not fill the memory. */
export const MOST_JOBS = 500_000;

/** Spans of a series at most: more cannot be told apart in a chart. */
const MOST_SPANS = 60;

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Widths that a span may have, so that its ends are moments that people name. */
const WIDTHS: readonly number[] = [
  ...[1_000, 5_000, 15_000, MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS],
  ...[HOUR_MS, 3 * HOUR_MS, 6 * HOUR_MS, 12 * HOUR_MS, DAY_MS, 7 * DAY_MS],
];

const P95 = 0.95;

/** One side of an endpoint. */
export type SeriesArm = 'old' | 'new';

/** Jobs of one side that were made in one span of time. */
export interface SeriesPoint {
  readonly arm: SeriesArm;
  /** Beginning of the span; milliseconds since 1970. */
  readonly at: number;
  /** Jobs that tell something, shadow jobs among them; see `observe` of the gates. */
  readonly jobs: number;
  readonly shadows: number;
  /** Null for a span of which less than half lies in the series: a rate of it would say nothing. */
  readonly jobsPerHour: number | null;
  /** Share of them that failed; null where none says so. */
  readonly failedShare: number | null;
  /** Of the succeeded jobs, from their creation to their known end, in milliseconds; null without any. */
  readonly p95Ms: number | null;
}

/** All jobs of one side together. */
export interface SeriesTotal {
  readonly jobs: number;
  readonly shadows: number;
  readonly failed: number;
  readonly lost: number;
  readonly p95Ms: number | null;
  /** US dollars of measured seconds at published prices, and the jobs and outputs that they are of. */
  readonly usd: number;
  readonly pricedJobs: number;
  readonly pricedOutputs: number;
}

/** Both sides over time. */
export interface JobSeries {
  /** Milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
  /** Width of a span in milliseconds. */
  readonly spanMs: number;
  /** Spans without jobs of a side are 0 jobs; ascending. Empty without any job. */
  readonly points: readonly SeriesPoint[];
  readonly totals: Readonly<Record<SeriesArm, SeriesTotal>>;
  /** Whether there are older jobs that were not read, because there are more than {@link MOST_JOBS}. */
  readonly isCut: boolean;
}

/** Which jobs are read. */
export interface JobSeriesOptions {
  readonly endpoint: string;
  readonly backends: Readonly<Record<SeriesArm, string>>;
  /** Milliseconds since 1970; the series begins with the first job after it, or with `begin` if that is earlier. */
  readonly since: number;
  /** A moment that the series shows in any case, such as the beginning of the migration. */
  readonly begin?: number | undefined;
  readonly now: number;
  /** Milliseconds after which a job that has not ended counts as failed to measure. */
  readonly stuckAfterMs: number;
}

/** Reads the series of one endpoint. Jobs of comparisons, and those of other backends, are left out. */
export async function readJobSeries(
  store: Pick<JobStore, 'list'>,
  options: JobSeriesOptions,
): Promise<JobSeries> {
  const { now, since, begin = Infinity } = options;
  const { seen, isCut } = await readSeen(store, options);
  const from = Math.max(
    since,
    seen.reduce((least, { at }) => Math.min(least, at), Math.min(begin, now)),
  );
  const spanMs = spanOf(now - from);
  return {
    from,
    to: now,
    spanMs,
    points:
      seen.length === 0
        ? []
        : (['old', 'new'] as const).flatMap((arm) => pointsOf(seen, arm, { from, to: now, spanMs })),
    totals: { old: totalOf(seen, 'old'), new: totalOf(seen, 'new') },
    isCut,
  };
}

interface Seen {
  readonly arm: SeriesArm;
  readonly at: number;
  readonly isShadow: boolean;
  readonly isFailed: boolean | undefined;
  readonly isLost: boolean;
  readonly totalMs: number | undefined;
  readonly usd: number | undefined;
  readonly outputs: number;
}

async function readSeen(
  store: Pick<JobStore, 'list'>,
  { endpoint, since, ...options }: JobSeriesOptions,
): Promise<{ readonly seen: readonly Seen[]; readonly isCut: boolean }> {
  const seen: Seen[] = [];
  let cursor: string | undefined;
  let read = 0;
  do {
    const page = await store.list({ endpoint, since }, { limit: PAGE, cursor });
    read += page.jobs.length;
    for (const job of page.jobs) {
      const told = seenOf(job, options);
      if (told !== undefined) seen.push(told);
    }
    cursor = page.next;
  } while (cursor !== undefined && read < MOST_JOBS);
  return { seen, isCut: cursor !== undefined };
}

function seenOf(
  job: JobRecord,
  { backends, now, stuckAfterMs }: Pick<JobSeriesOptions, 'backends' | 'now' | 'stuckAfterMs'>,
): Seen | undefined {
  const arm = job.backend === backends.new ? 'new' : job.backend === backends.old ? 'old' : undefined;
  const told = observe(job, now, stuckAfterMs);
  if (arm === undefined || told === undefined) return undefined;
  const { cost, finishedAt, outputs, createdAt } = job;
  const hasSucceeded = job.status === 'succeeded';
  return {
    arm,
    at: createdAt,
    isShadow: job.tags.includes(SHADOW_TAG),
    isFailed: told.isFailed,
    isLost: told.isLost,
    totalMs: hasSucceeded && finishedAt !== null ? finishedAt - createdAt : undefined,
    usd: cost === null || cost.estimated ? undefined : cost.usd,
    outputs: outputs.length,
  };
}

function spanOf(range: number): number {
  return (
    WIDTHS.find((width) => range / width <= MOST_SPANS) ?? DAY_MS * Math.ceil(range / DAY_MS / MOST_SPANS)
  );
}

function pointsOf(
  seen: readonly Seen[],
  arm: SeriesArm,
  { from, to, spanMs }: Pick<JobSeries, 'from' | 'to' | 'spanMs'>,
): SeriesPoint[] {
  const first = Math.floor(from / spanMs);
  const spans: Seen[][] = Array.from({ length: Math.floor(to / spanMs) - first + 1 }, () => []);
  for (const each of seen) if (each.arm === arm) spans[Math.floor(each.at / spanMs) - first]?.push(each);
  return spans.map((jobs, index) => {
    const at = (first + index) * spanMs;
    // The first and the last span are seen in part only.
    const seenMs = Math.min(at + spanMs, to) - Math.max(at, from);
    return {
      arm,
      at,
      jobs: jobs.length,
      shadows: jobs.filter(({ isShadow }) => isShadow).length,
      jobsPerHour: seenMs < spanMs / 2 ? null : (jobs.length * HOUR_MS) / seenMs,
      failedShare: failedShare(jobs),
      p95Ms: p95Of(jobs),
    };
  });
}

function totalOf(seen: readonly Seen[], arm: SeriesArm): SeriesTotal {
  const jobs = seen.filter((each) => each.arm === arm);
  const priced = jobs.filter(({ usd }) => usd !== undefined);
  return {
    jobs: jobs.length,
    shadows: jobs.filter(({ isShadow }) => isShadow).length,
    failed: jobs.filter(({ isFailed }) => isFailed === true).length,
    lost: jobs.filter(({ isLost }) => isLost).length,
    p95Ms: p95Of(jobs),
    usd: priced.reduce((sum, { usd = 0 }) => sum + usd, 0),
    pricedJobs: priced.length,
    pricedOutputs: priced.reduce((sum, { outputs }) => sum + outputs, 0),
  };
}

function failedShare(jobs: readonly Seen[]): number | null {
  const judged = jobs.filter(({ isFailed }) => isFailed !== undefined);
  return judged.length === 0 ? null : judged.filter(({ isFailed }) => isFailed).length / judged.length;
}

function p95Of(jobs: readonly Seen[]): number | null {
  return quantileOf(Float64Array.from(jobs.flatMap(({ totalMs }) => totalMs ?? [])).sort(), P95) ?? null;
}
