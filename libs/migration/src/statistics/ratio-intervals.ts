/** How many times as much the new side has of something: intervals of ratios, new by old. */
import { mean, sampleVariance } from 'simple-statistics';

import { type ErrorLevels, type Interval, quantileRanks, rateInterval } from './binomial.ts';

/** Nothing is known of a ratio. */
export const UNKNOWN_RATIO: Interval = { lower: 0, upper: Infinity };

/** How often something happened among how many. */
export interface Count {
  readonly events: number;
  readonly trials: number;
}

/**
 * Ratio of two rates. Given all events, those of the new side are binomial with a probability that only the ratio and the
 * numbers of trials decide (the comparison of two Poisson rates: Przyborowski and Wilenski, 1940); exact for rare events and on
 * the safe side for others.
 */
export function rateRatio(current: Count, baseline: Count, levels: ErrorLevels): Interval {
  const events = current.events + baseline.events;
  if (events === 0 || current.trials === 0 || baseline.trials === 0) return UNKNOWN_RATIO;
  const share = rateInterval(current.events, events, levels);
  const ratioOf = (part: number): number =>
    part >= 1 ? Infinity : (part / (1 - part)) * (baseline.trials / current.trials);
  return { lower: ratioOf(share.lower), upper: ratioOf(share.upper) };
}

/** The quantile by nearest rank of sorted values; undefined without any. */
export function quantileOf(sorted: ArrayLike<number>, quantile: number): number | undefined {
  return sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)];
}

/** Interval of a quantile from the places in the sorted sample; right for every distribution. */
export function quantileInterval(sorted: ArrayLike<number>, quantile: number, levels: ErrorLevels): Interval {
  const ranks = quantileRanks(quantile, sorted.length, levels);
  return {
    lower: ranks.lower === 0 ? 0 : (sorted[ranks.lower - 1] ?? 0),
    upper: sorted[ranks.upper - 1] ?? Infinity,
  };
}

/** Ratio of a quantile of two sorted samples: each side gets half of the error. */
export function quantileRatio(
  current: ArrayLike<number>,
  baseline: ArrayLike<number>,
  quantile: number,
  levels: ErrorLevels,
): Interval {
  const mine = quantileInterval(current, quantile, halved(levels));
  // What makes the ratio too large is a baseline that is too small, and the other way round.
  const theirs = quantileInterval(baseline, quantile, halved({ lower: levels.upper, upper: levels.lower }));
  return { lower: divided(mine.lower, theirs.upper), upper: divided(mine.upper, theirs.lower) };
}

/**
 * Ratio of two means by the logarithm's variance (delta method). In place of the normal quantile it takes sqrt(2 ln(1/error)),
 * which is larger: that covers estimated variances and skewed costs from {@link SMALLEST_MEAN_SAMPLE} values on.
 */
export function meanRatio(
  current: readonly number[],
  baseline: readonly number[],
  levels: ErrorLevels,
): Interval {
  if (Math.min(current.length, baseline.length) < SMALLEST_MEAN_SAMPLE) return UNKNOWN_RATIO;
  const [mine, theirs] = [mean([...current]), mean([...baseline])];
  if (mine <= 0 || theirs <= 0) return UNKNOWN_RATIO;
  const deviation = Math.sqrt(relativeVariance(current, mine) + relativeVariance(baseline, theirs));
  const spread = (level: number): number => Math.exp(Math.sqrt(2 * Math.log(1 / level)) * deviation);
  return { lower: mine / theirs / spread(levels.lower), upper: (mine / theirs) * spread(levels.upper) };
}

/** Values on each side below which a ratio of means is not judged. */
export const SMALLEST_MEAN_SAMPLE = 30;

function relativeVariance(values: readonly number[], average: number): number {
  return sampleVariance([...values]) / values.length / average ** 2;
}

function divided(value: number, by: number): number {
  if (value === 0) return 0;
  return by === 0 ? Infinity : value / by;
}

function halved({ lower, upper }: ErrorLevels): ErrorLevels {
  return { lower: lower / 2, upper: upper / 2 };
}
