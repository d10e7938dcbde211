/** One figure of the comparison: what is measured, when it is looked at, and what that says. */
import type { ErrorLevels, Interval } from '../statistics/binomial.ts';
import { FIRST_LOOK, LOOK_SIZES, lookAt, lookLevels, type SeriesLevels } from '../statistics/looks.ts';

/** Values in the order in which they became known; that order never changes, so that a look sees what it saw before. */
export interface Series {
  /** When each became known, ascending; milliseconds since 1970. */
  readonly times: readonly number[];
  /** Milliseconds, US dollars, or 1 and 0 for yes and no. */
  readonly values: readonly number[];
}

/** What a look says: surely above the line of rolling back, surely below that of going on, or neither. */
export type GateState = 'worse' | 'fine' | 'undecided';

/** The lines of a gate. */
export interface Lines {
  /** Rolled back when surely above it. */
  readonly rollBackAbove: number;
  /** Goes on when surely below it. */
  readonly advanceBelow: number;
  /** A figure of the new side itself that is always good enough; 0 without one. */
  readonly negligible: number;
}

/** A way of comparing, such as the ratio of two p95. */
export interface Comparison {
  /** The figure of one side; undefined without values. */
  figure(values: readonly number[]): number | undefined;
  /** Interval of what the lines are about: a ratio, or the new side's figure. */
  interval(current: readonly number[], baseline: readonly number[], levels: ErrorLevels): Interval;
  /** Interval of the new side's own figure. */
  own(current: readonly number[], levels: ErrorLevels): Interval;
  /** Values on the new side with which sides that are equal would pass; undefined where that cannot be told. */
  needed(plan: Plan): number | undefined;
}

/** What is known for working out how many jobs a claim needs. */
export interface Plan {
  readonly current: readonly number[];
  readonly baseline: readonly number[];
  readonly lines: Lines;
  readonly levels: ErrorLevels;
}

/** What a gate says, with the numbers behind it. */
export interface GateResult {
  readonly state: GateState;
  /** The figure on each side; undefined without values. */
  readonly current: number | undefined;
  readonly baseline: number | undefined;
  /** Range that holds what the lines are about. */
  readonly interval: Interval;
  readonly lines: Lines;
  /** Values of the new side that the look stands on, and those there are. */
  readonly looked: number;
  readonly available: number;
  /** Values of the new side with which sides that are equal would be told to be so; undefined when nobody can say, or it is so. */
  readonly needed: number | undefined;
}

/** Looks at a figure of both sides. */
export function look(
  comparison: Comparison,
  current: Series,
  baseline: Series,
  lines: Lines,
  levels: SeriesLevels,
): GateResult {
  const available = current.values.length;
  const looked = lookAt(available) ?? 0;
  const mine = current.values.slice(0, looked);
  const last = current.times[looked - 1] ?? -Infinity;
  const theirs = baseline.values.slice(0, countUntil(baseline.times, last));
  const each = lookLevels(levels);
  const interval = looked === 0 ? { lower: 0, upper: Infinity } : comparison.interval(mine, theirs, each);
  const state = looked === 0 ? 'undecided' : stateOf(comparison, mine, interval, lines, each);
  return {
    state,
    current: comparison.figure(current.values),
    baseline: comparison.figure(baseline.values),
    interval,
    lines,
    looked,
    available,
    needed: state === 'undecided' ? neededFor(comparison, current, baseline, lines, each) : undefined,
  };
}

function stateOf(
  comparison: Comparison,
  mine: readonly number[],
  interval: Interval,
  { rollBackAbove, advanceBelow, negligible }: Lines,
  levels: ErrorLevels,
): GateState {
  const figure = comparison.figure(mine);
  if (interval.lower > rollBackAbove && (figure ?? 0) > negligible) return 'worse';
  const isFine = interval.upper < advanceBelow || comparison.own(mine, levels).upper < negligible;
  return isFine ? 'fine' : 'undecided';
}

function neededFor(
  comparison: Comparison,
  current: Series,
  baseline: Series,
  lines: Lines,
  levels: ErrorLevels,
): number {
  const plan = { current: current.values, baseline: baseline.values, lines, levels };
  const least = LOOK_SIZES.find((size) => size > current.values.length) ?? FIRST_LOOK;
  return Math.max(least, comparison.needed(plan) ?? least);
}

/** How many of ascending times are at or before a moment. */
function countUntil(times: readonly number[], moment: number): number {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((times[middle] ?? Infinity) <= moment) low = middle + 1;
    else high = middle;
  }
  return low;
}
