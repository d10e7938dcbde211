/** Ways of comparing two sides, and how many jobs each needs. */
import { mean, probit, sampleVariance } from 'simple-statistics';

import { type Interval, rateInterval, upperTail } from '../statistics/binomial.ts';
import { LOOK_SIZES } from '../statistics/looks.ts';
import {
  meanRatio,
  quantileInterval,
  quantileOf,
  quantileRatio,
  rateRatio,
  SMALLEST_MEAN_SAMPLE,
  UNKNOWN_RATIO,
} from '../statistics/ratio-intervals.ts';
import type { Comparison, Plan } from './gate.ts';

/** The quantile of latencies. */
const QUANTILE = 0.95;

/** How sure a plan is that equal sides pass with the jobs that it names. */
const POWER = 0.99;

/** Values of the baseline from which its distribution is planned with. */
const ENOUGH_TO_PLAN = 40;

/** Rate of the new side against that of the old: failed jobs. */
export const rateComparison: Comparison = {
  figure: rateOf,
  interval: (current, baseline, levels) => rateRatio(countOf(current), countOf(baseline), levels),
  own: ownRate,
  needed(plan) {
    const rate = rateOf(plan.baseline) ?? 0;
    const perSide = 1 + plan.current.length / Math.max(1, plan.baseline.length);
    const byRatio = (size: number): boolean =>
      plan.baseline.length > 0 &&
      deviations(plan) * Math.sqrt(perSide / (rate * size)) < Math.log(plan.lines.advanceBelow);
    return firstSize((size) => byRatio(size) || isSurelyBelow(plan, rate, size, plan.lines.negligible));
  },
};

/** Rate of the new side alone: pictures that differ, jobs without measurements. */
export const plainRate: Comparison = {
  figure: rateOf,
  interval: (current, _baseline, levels) => ownRate(current, levels),
  own: ownRate,
  needed: (plan) => {
    // A side without fault is expected to stay well below the line: half of it.
    const rate = plan.lines.rollBackAbove / 2;
    return firstSize((size) => isSurelyBelow(plan, rate, size, plan.lines.advanceBelow));
  },
};

/** p95 of the new side against that of the old: latencies. */
export const p95Comparison: Comparison = {
  figure: (values) => quantileOf(sorted(values), QUANTILE),
  interval: (current, baseline, levels) => quantileRatio(sorted(current), sorted(baseline), QUANTILE, levels),
  own: (current, levels) => quantileInterval(sorted(current), QUANTILE, levels),
  needed(plan) {
    const known = sorted(plan.baseline.length >= ENOUGH_TO_PLAN ? plan.baseline : plan.current);
    const perSide = plan.current.length / Math.max(1, plan.baseline.length);
    return firstSize((size) => {
      if (upperTail(size, size, QUANTILE) > plan.levels.upper / 2) return false;
      const high = quantileOf(known, Math.min(1, QUANTILE + rankSpread(plan, size))) ?? 0;
      const low =
        quantileOf(known, Math.max(0, QUANTILE - rankSpread(plan, size / Math.max(perSide, 1e-6)))) ?? 0;
      return high < plan.lines.advanceBelow * low || high < plan.lines.negligible;
    });
  },
};

/** Mean of the new side against that of the old: costs. */
export const meanComparison: Comparison = {
  figure: (values) => (values.length === 0 ? undefined : mean([...values])),
  interval: meanRatio,
  own: (current, levels) => {
    if (current.length < SMALLEST_MEAN_SAMPLE) return UNKNOWN_RATIO;
    const deviation = Math.sqrt(sampleVariance([...current]) / current.length);
    const reach = (level: number): number => Math.sqrt(2 * Math.log(1 / level)) * deviation;
    const average = mean([...current]);
    return { lower: average - reach(levels.lower), upper: average + reach(levels.upper) };
  },
  needed(plan) {
    const known = plan.baseline.length >= ENOUGH_TO_PLAN ? plan.baseline : plan.current;
    if (known.length < 2 || mean([...known]) <= 0) return SMALLEST_MEAN_SAMPLE;
    const variance = sampleVariance([...known]) / mean([...known]) ** 2;
    const perSide = 1 + plan.current.length / Math.max(1, plan.baseline.length);
    const reach = Math.sqrt(2 * Math.log(1 / plan.levels.upper)) + probit(POWER);
    return firstSize(
      (size) =>
        size >= SMALLEST_MEAN_SAMPLE &&
        reach * Math.sqrt((variance * perSide) / size) < Math.log(plan.lines.advanceBelow),
    );
  },
};

function rateOf(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : countOf(values).events / values.length;
}

function countOf(values: readonly number[]): { readonly events: number; readonly trials: number } {
  return { events: values.reduce((sum, value) => sum + value, 0), trials: values.length };
}

function ownRate(values: readonly number[], levels: Plan['levels']): Interval {
  const { events, trials } = countOf(values);
  return rateInterval(events, trials, levels);
}

/** Whether a side with that rate would, with {@link POWER}, be shown to be below a line. */
function isSurelyBelow({ levels }: Plan, rate: number, size: number, line: number): boolean {
  if (line <= rate) return false;
  const unlucky = Math.ceil(rate * size + probit(POWER) * Math.sqrt(rate * (1 - rate) * size));
  return rateInterval(Math.min(size, unlucky), size, levels).upper < line;
}

function deviations({ levels }: Plan): number {
  return probit(1 - levels.upper) + probit(POWER);
}

function rankSpread({ levels }: Plan, size: number): number {
  const reach = probit(1 - levels.upper / 2) + probit(POWER);
  return reach * Math.sqrt((QUANTILE * (1 - QUANTILE)) / size);
}

function firstSize(isEnough: (size: number) => boolean): number | undefined {
  return LOOK_SIZES.find(isEnough);
}

function sorted(values: readonly number[]): Float64Array {
  return Float64Array.from(values).sort();
}
