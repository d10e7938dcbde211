/** How far an output may be from the old one: as far as the old side is from itself. */
import type { DeterminismClass } from '@ryla/workflow';

import { gammaln } from 'simple-statistics';

import { quantileRanks } from '../statistics/binomial.ts';
import { quantileOf } from '../statistics/ratio-intervals.ts';
import type { ComparedPair, NoiseFloor } from './comparison.ts';
import type { UnjudgedPair } from './pair-outputs.ts';

/** Distances that an output may have. */
export type Limits = NoiseFloor['limits'];

/** How often an equal job may be beyond the floor of any of its outputs, for each distance. */
const BEYOND = 0.01;

/** Outputs of one node that have floors of their own; of a node with more, all share one: they are a batch, or frames. */
const OWN_FLOORS = 8;

/** So many times as far as the largest difference of the old side from itself is far at least, and at most. */
const FAR = { least: 2, most: 4 } as const;

/** How often equal sides may have anything that is far, where distances fall off like an exponential. */
const FAR_BY_CHANCE = 0.025;

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

/** A floor before anything is judged by it. */
export type MeasuredFloor = Omit<NoiseFloor, 'judged' | 'differing' | 'far' | 'chance'>;

/**
 * The floor of each output of which distances are known, in the order of the pairs: of `K` outputs, the quantile `1 - 0.01 / K` of old
 * against old, so that an equal job is as seldom beyond any of them as a job with one output.
 */
export function noiseFloors(
  pairs: readonly UnjudgedPair[],
  circumstances: Circumstances,
): readonly MeasuredFloor[] {
  const shared = nodesWithMany(pairs);
  const places = new Map<string, UnjudgedPair[]>();
  for (const pair of pairs) {
    if (pair.difference === null) continue;
    const key = shared.has(pair.node) ? pair.node : `${pair.node}/${pair.index}`;
    const own = places.get(key) ?? [];
    own.push(pair);
    places.set(key, own);
  }
  return [...places.values()].map((own) => {
    const [first] = own;
    if (first === undefined) throw new Error('A place has pairs.');
    const { node, index, name, kind } = first;
    return {
      ...{ node, index: shared.has(node) ? null : index, name, kind },
      ...measured(own, places.size, circumstances),
    };
  });
}

/** The floor that an output is judged by; undefined where the comparison knows of none. */
export function floorOf<Floor extends Pick<NoiseFloor, 'node' | 'index'>>(
  floors: readonly Floor[],
  { node, index }: Pick<ComparedPair, 'node' | 'index'>,
): Floor | undefined {
  return floors.find((floor) => floor.node === node && (floor.index === null || floor.index === index));
}

/** What an output is allowed of which no floor is known. */
export function limitsWithoutFloor(circumstances: Circumstances): Limits {
  return allowed(EXACT, circumstances);
}

/** What is said of a floor once its outputs are judged. */
export function judgedFloor(floor: MeasuredFloor, pairs: readonly ComparedPair[]): NoiseFloor {
  const own = pairs.filter(
    (pair) => pair.against === 'new' && pair.result !== 'look' && floorOf([floor], pair) !== undefined,
  );
  const differing = own.filter(({ result }) => result === 'differs');
  const far = differing.filter(({ difference }) => !isWithin(difference, floor.farLimits)).length;
  // Each distance gets its share of the error (Bonferroni), however they hang together.
  const chances = DISTANCES.map((name) => {
    const beyond = own.filter(({ difference }) => (difference?.[name] ?? 0) > floor.limits[name]).length;
    return DISTANCES.length * chanceOf(beyond, own.length, floor);
  });
  const chance = far > 0 ? 0 : Math.min(1, ...chances);
  return { ...floor, judged: own.length, differing: differing.length, far, chance };
}

/**
 * How likely `beyond` or more of `judged` outputs of an equal side are above a quantile of `pairs` pairs of the old side, in one
 * distance: all orders of both sides' distances are then as likely (negative hypergeometric). With few pairs it is large, because their
 * quantile is but the largest of them.
 */
export function chanceOf(
  beyond: number,
  judged: number,
  { pairs, quantile }: Pick<NoiseFloor, 'pairs' | 'quantile'>,
): number {
  if (beyond === 0) return 1;
  if (pairs === 0) return 0;
  const rank = rankOf(quantile, pairs);
  let sum = 0;
  for (let above = beyond; above <= judged; above += 1) {
    const below = judged - above;
    sum += Math.exp(
      logChoose(below + rank - 1, below) +
        logChoose(above + pairs - rank, above) -
        logChoose(judged + pairs, judged),
    );
  }
  return Math.min(1, sum);
}

/** How likely equal sides are to have so many beyond the floor of any output: each gets its share of the error (Bonferroni). */
export function chanceOfAny(floors: readonly Pick<NoiseFloor, 'chance'>[]): number {
  return Math.min(1, ...floors.map(({ chance }) => floors.length * chance));
}

function measured(
  pairs: readonly UnjudgedPair[],
  outputs: number,
  circumstances: Circumstances,
): Pick<MeasuredFloor, 'pairs' | 'quantile' | 'noise' | 'isSure' | 'limits' | 'farLimits'> {
  const distances = pairs
    .filter(({ against }) => against === 'old-again')
    .flatMap(({ difference }) => (difference === null ? [] : [difference]));
  const quantile = 1 - BEYOND / outputs;
  const sorted = (name: keyof Limits): Float64Array =>
    Float64Array.from(distances, (distance) => distance[name]).sort();
  const noise = eachDistance((name) => quantileOf(sorted(name), quantile) ?? 0);
  const largest = eachDistance((name) => sorted(name).at(-1) ?? 0);
  const { upper } = quantileRanks(quantile, distances.length, { lower: 0.05, upper: 0.05 });
  const factor = farFactor(outputs, distances.length);
  const rounding = allowed(EXACT, circumstances);
  return {
    pairs: distances.length,
    quantile,
    noise,
    isSure: distances.length > 0 && upper <= distances.length,
    limits: allowed(noise, circumstances),
    farLimits: eachDistance((name) => Math.max(factor * largest[name], FAR.least * rounding[name])),
  };
}

/**
 * How many times the largest difference of the old side is far: with few pairs or many outputs something is further off by chance. Of `n`
 * exponential distances the largest `M` has `E exp(-c M) = n! Γ(c + 1) / Γ(n + c + 1)`, which is how likely one more is beyond `c M`.
 */
function farFactor(outputs: number, pairs: number): number {
  const chance = (factor: number): number =>
    outputs *
    DISTANCES.length *
    pairs *
    Math.exp(gammaln(pairs + 1) + gammaln(factor + 1) - gammaln(pairs + factor + 1));
  if (pairs === 0) return FAR.least;
  let [low, high]: [number, number] = [FAR.least, FAR.most];
  for (let step = 0; step < 20; step += 1) {
    const middle = (low + high) / 2;
    if (chance(middle) > FAR_BY_CHANCE) low = middle;
    else high = middle;
  }
  return high;
}

/** The noise, or the allowance for rounding where that is larger and the workflow can have any. */
function allowed(noise: Limits, { determinism, rounding }: Circumstances): Limits {
  const least = determinism === 'cpu-noise' || determinism === 'device-noise' ? rounding : EXACT;
  return eachDistance((name) => Math.max(noise[name], least[name]));
}

function isWithin(difference: ComparedPair['difference'], limits: Limits): boolean {
  return difference !== null && DISTANCES.every((name) => difference[name] <= limits[name]);
}

function nodesWithMany(pairs: readonly UnjudgedPair[]): ReadonlySet<string> {
  return new Set(pairs.filter(({ index }) => index >= OWN_FLOORS).map(({ node }) => node));
}

/** The nearest rank, as `quantileOf` takes it. */
function rankOf(quantile: number, count: number): number {
  return Math.max(1, Math.ceil(quantile * count));
}

function logChoose(n: number, k: number): number {
  return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1);
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
