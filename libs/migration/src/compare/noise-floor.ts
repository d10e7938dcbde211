/** How far a picture may be from the old one: as far as the old side is from itself. */
import type { DeterminismClass } from '@ryla/workflow';

import { gammaln } from 'simple-statistics';

import { quantileRanks } from '../statistics/binomial.ts';
import { quantileOf } from '../statistics/ratio-intervals.ts';
import type { ComparedPair, Comparison } from './comparison.ts';
import type { UnjudgedPair } from './pair-outputs.ts';

/** Distances that a picture may have. */
export type Limits = Comparison['limits'];

/** The quantile of old against old. */
const QUANTILE = 0.99;

/**
 * What rounding may do to a picture between two kinds of GPU, for workflows whose noise is drawn on the CPU, although the old side
 * repeats itself exactly. A choice, not a measurement: a loss of 0.02 and a mean difference of 2 of 255 are hardly seen, and 4 of
 * 64 bits are far below the half that unrelated pictures differ in.
 */
export const ROUNDING: Limits = { ssimLoss: 0.02, hashBits: 4, meanDifference: 2 };

/** Nothing may differ. */
const EXACT: Limits = { ssimLoss: 0, hashBits: 0, meanDifference: 0 };

const DISTANCES = ['ssimLoss', 'hashBits', 'meanDifference'] as const;

const NAMES = {
  ssimLoss: 'SSIM loss',
  hashBits: 'pHash distance',
  meanDifference: 'mean difference',
} as const;

/** What decides beside the distance. */
export interface Circumstances {
  readonly determinism: DeterminismClass;
  /** Whether both sides ran on one kind of card, as far as they told. */
  readonly hasOneCard: boolean;
  readonly rounding: Limits;
}

/** p99 of old against old. */
export function noiseFloor(pairs: readonly UnjudgedPair[]): Comparison['noiseFloor'] {
  const distances = pairs
    .filter(({ against }) => against === 'old-again')
    .flatMap(({ difference }) => (difference === null ? [] : [difference]));
  const { upper } = quantileRanks(QUANTILE, distances.length, { lower: 0.05, upper: 0.05 });
  return {
    pairs: distances.length,
    ...eachDistance((name) => {
      const sorted = Float64Array.from(distances, (distance) => distance[name]).sort();
      return quantileOf(sorted, QUANTILE) ?? 0;
    }),
    isSure: distances.length > 0 && upper <= distances.length,
  };
}

/** Whether a picture is beyond the limits by so little that chance may explain it: no distance is more than twice its limit. */
export function isNear({ difference }: Pick<ComparedPair, 'difference'>, limits: Limits): boolean {
  return difference !== null && DISTANCES.every((name) => difference[name] <= 2 * limits[name]);
}

/**
 * How likely `beyond` or more of `judged` pictures of an equal side are above the p99 of `floorPairs` pairs of the old side: all
 * orders of both sides' distances are then as likely (negative hypergeometric). Three distances may each be beyond: at most thrice
 * that. With few pairs it is large, because their p99 is but the largest of them.
 */
export function chanceOf(beyond: number, judged: number, floorPairs: number): number {
  if (beyond === 0) return 1;
  if (floorPairs === 0) return 0;
  const rank = Math.ceil(QUANTILE * floorPairs);
  let sum = 0;
  for (let above = beyond; above <= judged; above += 1) {
    const below = judged - above;
    sum += Math.exp(
      logChoose(below + rank - 1, below) +
        logChoose(above + floorPairs - rank, above) -
        logChoose(judged + floorPairs, judged),
    );
  }
  return Math.min(1, sum * DISTANCES.length);
}

function logChoose(n: number, k: number): number {
  return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1);
}

/** The floor, or the allowance for rounding where that is larger and the workflow can have any. */
export function limitsOf(floor: Limits, { determinism, rounding }: Circumstances): Limits {
  const allowed = determinism === 'cpu-noise' || determinism === 'device-noise' ? rounding : EXACT;
  return eachDistance((name) => Math.max(floor[name], allowed[name]));
}

/** Judges what only its distance decides. */
export function judgePair(
  unjudged: UnjudgedPair,
  limits: Limits,
  { determinism, hasOneCard }: Circumstances,
): ComparedPair {
  const { thumbnails: _, result, ...pair } = unjudged;
  if (result !== undefined || pair.difference === null) return { ...pair, result: result ?? 'look' };
  const { difference } = pair;
  const beyond = DISTANCES.filter((name) => difference[name] > limits[name]);
  if (beyond.length === 0) return { ...pair, result: 'within-noise' };
  const distances = beyond.map(
    (name) => `Its ${NAMES[name]} is ${short(difference[name])}, the limit ${short(limits[name])}.`,
  );
  const reasons = [...pair.reasons, ...distances];
  if (determinism !== 'device-noise' || hasOneCard) return { ...pair, result: 'differs', reasons };
  const why = 'Noise is drawn on the GPU and the cards are not the same: another picture is expected.';
  return { ...pair, result: 'look', reasons: [why, ...reasons] };
}

function eachDistance(valueOf: (name: keyof Limits) => number): Limits {
  return {
    ssimLoss: valueOf('ssimLoss'),
    hashBits: valueOf('hashBits'),
    meanDifference: valueOf('meanDifference'),
  };
}

function short(value: number): string {
  return String(Number(value.toPrecision(2)));
}
