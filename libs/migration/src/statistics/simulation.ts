/** Simulated sides with known differences: how often the gates are wrong, and with how many jobs they are right. */
import { meanComparison, p95Comparison, plainRate, rateComparison } from '../gates/comparisons.ts';
import { type Comparison, type Lines, look, type Series } from '../gates/gate.ts';
import { LEVELS } from '../gates/gates.ts';
import { seeded } from '../seeded.ts';
import { LOOK_SIZES } from './looks.ts';

/** Two sides of which the truth is known. */
export interface Scenario {
  readonly name: string;
  readonly comparison: Comparison;
  readonly lines: Lines;
  /** Jobs of the new side at which the claims hold, and jobs of the old side for each. */
  readonly jobs: number;
  readonly baselinePerJob: number;
  /** One value of a side that is `factor` times as bad as the old one. */
  readonly draw: (random: () => number, factor: number) => number;
}

/** How often, out of `runs`, what should not happen did. */
export interface Outcome {
  readonly scenario: Scenario;
  readonly runs: number;
  /** Equal sides: rolled back at any look up to `jobs`. */
  readonly falseRollbacks: number;
  /** The new side twice as bad: not rolled back by `jobs`. */
  readonly missedRegressions: number;
  /** The new side twice as bad: told to be fine at any look up to `jobs`. */
  readonly wrongAdvances: number;
  /** Equal sides: not told to be fine by `jobs`. */
  readonly refusedAdvances: number;
}

/** A regression that must not be missed, as a factor. */
const REGRESSION = 2;

const RATIO = { rollBackAbove: 1, advanceBelow: 2, negligible: 0 };
const LATENCY = { rollBackAbove: 1.25, advanceBelow: 2, negligible: 0 };

/** Failed jobs: a share of `rate`. */
function failures(rate: number, jobs: number, baselinePerJob = 1): Scenario {
  return {
    name: `error rate ${percent(rate)}`,
    comparison: rateComparison,
    lines: RATIO,
    jobs,
    baselinePerJob,
    draw: (random, factor) => (random() < rate * factor ? 1 : 0),
  };
}

/** Latencies, log-normal: `sigma` 0.25 is steady, 1 varies widely. */
function latencies(sigma: number, jobs: number, baselinePerJob = 1): Scenario {
  return {
    name: `latency p95, sigma ${sigma}`,
    comparison: p95Comparison,
    lines: LATENCY,
    jobs,
    baselinePerJob,
    draw: (random, factor) => 1_000 * factor * Math.exp(sigma * normal(random)),
  };
}

function costs(sigma: number, jobs: number): Scenario {
  return {
    name: `cost per picture, sigma ${sigma}`,
    comparison: meanComparison,
    lines: LATENCY,
    jobs,
    baselinePerJob: 1,
    draw: (random, factor) => 0.002 * factor * Math.exp(sigma * normal(random)),
  };
}

/** Pictures beyond the noise floor: `rate` of those of an equal side are. */
function differences(rate: number, jobs: number): Scenario {
  return {
    name: `parity, ${percent(rate)} differ`,
    comparison: plainRate,
    lines: { rollBackAbove: rate, advanceBelow: rate * REGRESSION, negligible: 0 },
    jobs,
    baselinePerJob: 0,
    draw: (random, factor) => (random() < rate * factor ? 1 : 0),
  };
}

/** What the table in docs/migration-stages.md is made of. */
export const SCENARIOS: readonly Scenario[] = [
  failures(0.02, 8_757),
  failures(0.05, 3_892),
  failures(0.1, 1_729),
  failures(0.05, 1_729, 9),
  latencies(0.25, 512),
  latencies(0.5, 1_153),
  latencies(0.5, 768, 9),
  latencies(1, 5_838),
  costs(0.3, 67),
  costs(1, 1_153),
  differences(0.02, 3_892),
  differences(0.05, 1_729),
];

/** Runs a scenario with the seeds 1 to `runs`. */
export function simulate(scenario: Scenario, runs: number): Outcome {
  const count = { falseRollbacks: 0, missedRegressions: 0, wrongAdvances: 0, refusedAdvances: 0 };
  for (let seed = 1; seed <= runs; seed += 1) {
    const equal = watch(scenario, 1, seeded(seed));
    const worse = watch(scenario, REGRESSION, seeded(seed + 1_000_003));
    if (equal.rolledBack) count.falseRollbacks += 1;
    if (!equal.wasFine) count.refusedAdvances += 1;
    if (!worse.rolledBack) count.missedRegressions += 1;
    if (worse.wasFine) count.wrongAdvances += 1;
  }
  return { scenario, runs, ...count };
}

/** Everything that is said over the looks of one run. */
function watch(
  { comparison, lines, jobs, baselinePerJob, draw }: Scenario,
  factor: number,
  random: () => number,
): { readonly rolledBack: boolean; readonly wasFine: boolean } {
  const current = drawn(jobs, 1, () => draw(random, factor));
  const baseline = drawn(Math.round(jobs * baselinePerJob), baselinePerJob, () => draw(random, 1));
  let [rolledBack, wasFine] = [false, false];
  for (const size of LOOK_SIZES.filter((each) => each <= jobs)) {
    const { state } = look(comparison, upTo(current, size), baseline, lines, LEVELS);
    rolledBack ||= state === 'worse';
    wasFine ||= state === 'fine';
  }
  return { rolledBack, wasFine };
}

function drawn(count: number, perJob: number, draw: () => number): Series {
  return {
    times: Array.from({ length: count }, (_, index) => Math.ceil((index + 1) / perJob)),
    values: Array.from({ length: count }, draw),
  };
}

function upTo({ times, values }: Series, size: number): Series {
  return { times: times.slice(0, size), values: values.slice(0, size) };
}

function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

function percent(rate: number): string {
  return `${String(Math.round(rate * 1_000) / 10)} %`;
}
