/** What the jobs of both sides told, as the series that the gates look at. */
import { lowerTail } from '../statistics/binomial.ts';
import { lookAt, LOOKS } from '../statistics/looks.ts';
import type { Series } from './gate.ts';
import { LEVELS, type SideSeries } from './gates.ts';
import type { Observation } from './observation.ts';

/** Jobs of the old side since a moment that are enough to compare with; with fewer, the days before count too. */
const ENOUGH_BASELINE = 200;

/** Days before that count then. */
const BASELINE_DAYS = 7;

const DAY_MS = 24 * 60 * 60 * 1_000;

/** Both sides of an endpoint. */
export interface Sides {
  readonly current: SideSeries;
  readonly baseline: SideSeries;
}

/** Days of jobs that are read at most, so that an endpoint that is live for months does not fill the memory. */
const LONGEST_DAYS = 30;

/** Moment from which on jobs are read, for what began at `since`; milliseconds since 1970. */
export function readingFrom(since: number, now: number): number {
  return Math.max(Math.min(since, now - BASELINE_DAYS * DAY_MS), now - LONGEST_DAYS * DAY_MS);
}

/** Series of both sides since a moment. */
export function sidesOf(
  observations: readonly Observation[],
  backends: { readonly old: string; readonly new: string },
  since: number,
): Sides {
  const of = (backend: string): readonly Observation[] =>
    observations.filter((each) => each.backend === backend);
  const recent = of(backends.old).filter(({ createdAt }) => createdAt >= since);
  return {
    current: seriesOf(of(backends.new).filter(({ createdAt }) => createdAt >= since)),
    baseline: seriesOf(recent.length >= ENOUGH_BASELINE ? recent : of(backends.old)),
  };
}

function seriesOf(observations: readonly Observation[]): SideSeries {
  const series = (valueOf: (observation: Observation) => number | undefined): Series => {
    const known = observations.flatMap((observation) => {
      const value = valueOf(observation);
      return value === undefined ? [] : [{ time: observation.knownAt, value }];
    });
    return { times: known.map(({ time }) => time), values: known.map(({ value }) => value) };
  };
  return {
    errorRate: series(({ isFailed }) => bit(isFailed)),
    queueP95: series(({ queueMs }) => queueMs),
    coldStartP95: series(({ coldStartMs }) => coldStartMs),
    executionP95: series(({ executionMs }) => executionMs),
    costPerPicture: series(({ usdPerPicture }) => usdPerPicture),
    parity: series(({ differs }) => bit(differs)),
    missing: series(({ isMissing }) => bit(isMissing)),
  };
}

/**
 * Whether the new side gets surely less than half of the jobs that its share of them asks for: it refuses them, or nobody sends
 * them there. Jobs with one route key count once, because they go one way.
 */
export function getsTooFew(
  observations: readonly Observation[],
  backends: { readonly old: string; readonly new: string },
  since: number,
  share: number,
): boolean {
  if (share === 0) return false;
  const keys = new Map<string, boolean>();
  for (const { createdAt, isShadow, routeKey, backend } of observations) {
    if (createdAt < since || isShadow) continue;
    if (backend === backends.new || backend === backends.old)
      keys.set(routeKey, keys.get(routeKey) === true || backend === backends.new);
  }
  const looked = lookAt(keys.size) ?? 0;
  const arrived = [...keys.values()].slice(0, looked).filter(Boolean).length;
  return lowerTail(arrived, looked, share / 2) < LEVELS.falseAlarm / LOOKS;
}

function bit(value: boolean | undefined): number | undefined {
  return value === undefined ? undefined : Number(value);
}
