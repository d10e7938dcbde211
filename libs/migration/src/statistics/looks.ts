/**
 * When a running comparison is looked at, and how sure each look must be. Whoever looks after every job sees a "significant"
 * difference between equal sides sooner or later. So looks happen at fixed numbers of jobs of the new side only, each at its
 * share of the error that the whole series may have (Bonferroni): all looks together are then right with the stated confidence.
 */
import type { ErrorLevels } from './binomial.ts';

/** Jobs of the new side at the first look: fewer can show a disaster only, and that they show at 20 too. */
export const FIRST_LOOK = 20;

/** Each look has this many times the jobs of the one before. */
const GROWTH = 1.5;

/** Looks of a series; the last has {@link MAXIMUM_JOBS} jobs. */
export const LOOKS = 20;

/** Numbers of jobs at which a series is looked at: 20, 30, 45, … 44,338. */
export const LOOK_SIZES: readonly number[] = Array.from({ length: LOOKS }, (_, index) =>
  Math.floor(FIRST_LOOK * GROWTH ** index),
);

/** Jobs that the last look has; a longer series is judged by these. */
export const MAXIMUM_JOBS = LOOK_SIZES.at(-1) ?? FIRST_LOOK;

/** What a whole series of looks may get wrong: rolling back for nothing, or letting a regression through. */
export interface SeriesLevels {
  /** Probability of a lower end above the truth at any look. */
  readonly falseAlarm: number;
  /** Probability of an upper end below the truth at any look. */
  readonly missed: number;
}

/** The largest look that a number of jobs allows; undefined before the first. */
export function lookAt(jobs: number): number | undefined {
  return LOOK_SIZES.findLast((size) => size <= jobs);
}

/** Error probabilities of one look. */
export function lookLevels({ falseAlarm, missed }: SeriesLevels): ErrorLevels {
  return { lower: falseAlarm / LOOKS, upper: missed / LOOKS };
}
