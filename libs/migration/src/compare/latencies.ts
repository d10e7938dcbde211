/** Latencies of both sides with their intervals, cold and warm apart. */
import type { Interval } from '../statistics/binomial.ts';
import { quantileInterval, quantileOf, quantileRatio } from '../statistics/ratio-intervals.ts';
import type { ComparedJob, ComparedLatency, ComparisonInterval, LatencySample } from './comparison.ts';

/** Errors of the two ends of a 95 % interval. */
export const LEVELS_95 = { lower: 0.025, upper: 0.025 } as const;

const MEDIAN = 0.5;
const P95 = 0.95;

/** `any`: all jobs, those too whose backend does not tell whether a worker started. */
const STARTS = ['warm', 'cold', 'any'] as const;

const PHASES = [
  ['total', 'totalMs'],
  ['queue', 'queueMs'],
  ['coldStart', 'coldStartMs'],
  ['execution', 'executionMs'],
] as const;

/** Every phase of every kind of start that was measured on at least one side. Both old jobs of a run count for the old side. */
export function latencies(jobs: readonly ComparedJob[]): ComparedLatency[] {
  return STARTS.flatMap((start) =>
    PHASES.flatMap(([phase, field]) => {
      if (phase === 'coldStart' && start !== 'cold') return [];
      const values = (isNew: boolean): Float64Array =>
        Float64Array.from(
          jobs
            .filter((job) => (start === 'any' || job.start === start) && (job.arm === 'new') === isNew)
            .flatMap((job) => job[field] ?? []),
        ).sort();
      const [old, now] = [values(false), values(true)];
      if (old.length + now.length === 0) return [];
      return {
        start,
        phase,
        old: sampleOf(old),
        new: sampleOf(now),
        medianRatio: bounds(quantileRatio(now, old, MEDIAN, LEVELS_95)),
        p95Ratio: bounds(quantileRatio(now, old, P95, LEVELS_95)),
      };
    }),
  );
}

/** An interval as JSON can hold it. */
export function bounds({ lower, upper }: Interval): ComparisonInterval {
  return { lower, upper: Number.isFinite(upper) ? upper : null };
}

function sampleOf(sorted: Float64Array): LatencySample {
  return {
    jobs: sorted.length,
    median: quantileOf(sorted, MEDIAN) ?? null,
    medianInterval: bounds(quantileInterval(sorted, MEDIAN, LEVELS_95)),
    p95: quantileOf(sorted, P95) ?? null,
    p95Interval: bounds(quantileInterval(sorted, P95, LEVELS_95)),
  };
}
