/** Both sides as a whole. */
import { mean } from 'simple-statistics';

import { meanRatio } from '../statistics/ratio-intervals.ts';
import type { ComparedJob, ComparedSide, ComparisonInterval } from './comparison.ts';
import { pricesOf, type SideOptions, usdOf } from './costs.ts';
import { bounds, LEVELS_95 } from './latencies.ts';

/** What the jobs of one side come to. */
export function sideOf(options: SideOptions, jobs: readonly ComparedJob[]): ComparedSide {
  const { backend, idleSeconds } = options;
  const prices = pricesOf(options);
  const good = jobs.filter(({ status }) => status === 'succeeded');
  const gpus = [...new Set(good.flatMap(({ gpu }) => gpu ?? []))];
  const pictures = good.reduce((sum, { outputs }) => sum + outputs.length, 0);
  const second = usdOf(options, gpus[0] ?? options.gpu ?? null, { executionMs: 1_000, coldStartMs: 0 });
  return {
    backend,
    gpus,
    prices:
      prices === undefined ? null : { provider: prices.provider, date: prices.date, source: prices.source },
    // With several cards no one price is right: the jobs' own costs still are.
    usdPerSecond: gpus.length > 1 ? null : second,
    idleSeconds: idleSeconds ?? null,
    jobs: jobs.length,
    failed: jobs.length - good.length,
    pictures,
    usdPerPicture: meanOf(perPicture(good)),
    executionSeconds: seconds(good.flatMap(({ executionMs }) => executionMs ?? [])),
    coldStartSeconds: seconds(
      good.filter(({ start }) => start === 'cold').flatMap(({ coldStartMs }) => coldStartMs ?? []),
    ),
    picturesPerJob: good.length === 0 ? null : pictures / good.length,
  };
}

/** Mean cost of an output, new by old; unknown below 30 jobs on a side. */
export function costRatioOf(jobs: readonly ComparedJob[]): ComparisonInterval {
  const costs = (isNew: boolean): number[] => perPicture(jobs.filter(({ arm }) => (arm === 'new') === isNew));
  return bounds(meanRatio(costs(true), costs(false), LEVELS_95));
}

/** Each job's cost for one of its outputs; a job that made none costs the same. */
function perPicture(jobs: readonly ComparedJob[]): number[] {
  return jobs.flatMap(({ usd, outputs }) => (usd === null ? [] : usd / Math.max(1, outputs.length)));
}

function seconds(milliseconds: readonly number[]): number | null {
  const average = meanOf(milliseconds);
  return average === null ? null : average / 1_000;
}

function meanOf(values: readonly number[]): number | null {
  return values.length === 0 ? null : mean([...values]);
}
