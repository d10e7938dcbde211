/** Exact binomial tails, intervals and ranks: no approximation that fails where failures are rare. */
import { gammaln } from 'simple-statistics';

/** A range that holds the true value with a stated confidence. `upper` may be Infinity: nothing is known yet. */
export interface Interval {
  readonly lower: number;
  readonly upper: number;
}

/** Error probabilities of the two ends of an interval: how often each may be on the wrong side of the truth. */
export interface ErrorLevels {
  readonly lower: number;
  readonly upper: number;
}

/** Halvings of [0, 1] until nothing changes in a double. */
const HALVINGS = 60;

/** Terms below this share of the largest change nothing that is looked at. */
const NEGLIGIBLE = 1e-18;

/** P(X >= k) of a binomial variable, exact to rounding. */
export function upperTail(successes: number, trials: number, probability: number): number {
  if (successes <= 0) return 1;
  if (successes > trials || probability <= 0) return 0;
  if (probability >= 1) return 1;
  // The shorter side is summed: terms fall away from the mean.
  return successes > trials * probability
    ? sumOfTerms(successes, trials, probability, 1)
    : 1 - sumOfTerms(successes - 1, trials, probability, -1);
}

/** P(X <= k) of a binomial variable. */
export function lowerTail(successes: number, trials: number, probability: number): number {
  return upperTail(trials - successes, trials, 1 - probability);
}

function sumOfTerms(from: number, trials: number, probability: number, step: 1 | -1): number {
  const odds = probability / (1 - probability);
  let term = Math.exp(
    gammaln(trials + 1) -
      gammaln(from + 1) -
      gammaln(trials - from + 1) +
      from * Math.log(probability) +
      (trials - from) * Math.log1p(-probability),
  );
  let sum = 0;
  for (let count = from; count >= 0 && count <= trials && term > 0; count += step) {
    sum += term;
    if (term < sum * NEGLIGIBLE) break;
    term *= step === 1 ? ((trials - count) / (count + 1)) * odds : count / (trials - count + 1) / odds;
  }
  return Math.min(1, sum);
}

/**
 * Interval of a rate (Clopper and Pearson, 1934): its ends are wrong no more often than asked for, at any rate and any number of
 * trials. Wilson's interval is shorter, but where failures are rare its lower end is wrong several times as often: a false alarm.
 */
export function rateInterval(successes: number, trials: number, levels: ErrorLevels): Interval {
  if (trials === 0) return { lower: 0, upper: 1 };
  return {
    lower: successes === 0 ? 0 : crossing((rate) => upperTail(successes, trials, rate) >= levels.lower),
    upper: successes === trials ? 1 : crossing((rate) => lowerTail(successes, trials, rate) < levels.upper),
  };
}

/** The smallest value of [0, 1] from which on a condition holds. */
function crossing(holds: (value: number) => boolean): number {
  let [below, above] = [0, 1];
  for (let halving = 0; halving < HALVINGS; halving += 1) {
    const middle = (below + above) / 2;
    if (holds(middle)) above = middle;
    else below = middle;
  }
  return (below + above) / 2;
}

/**
 * Places (1 to n) in a sorted sample between which a quantile lies, whatever the distribution; 0 and n + 1 where the sample is
 * too small to say.
 */
export function quantileRanks(quantile: number, trials: number, levels: ErrorLevels): Interval {
  // The k-th smallest is above the quantile when fewer than k values are at or below it.
  const lower = lastRank((rank) => lowerTail(rank - 1, trials, quantile) <= levels.lower, trials);
  const upper = lastRank((rank) => upperTail(rank, trials, quantile) > levels.upper, trials) + 1;
  return { lower, upper };
}

/** The last rank of 1 to n that satisfies a condition which holds up to some rank; 0 for none. */
function lastRank(holds: (rank: number) => boolean, trials: number): number {
  let [last, first] = [0, trials + 1];
  while (first - last > 1) {
    const middle = Math.floor((last + first) / 2);
    if (holds(middle)) last = middle;
    else first = middle;
  }
  return last;
}
