/** All gates of a stage. */
import type { SeriesLevels } from '../statistics/looks.ts';
import { meanComparison, p95Comparison, plainRate, rateComparison } from './comparisons.ts';
import { type Comparison, type GateResult, type Lines, look, type Series } from './gate.ts';
import type { Thresholds } from './thresholds.ts';

/** What is compared. */
export const GATES = [
  'errorRate',
  'queueP95',
  'coldStartP95',
  'executionP95',
  'costPerPicture',
  'parity',
  'missing',
] as const;

/** One of {@link GATES}. */
export type GateName = (typeof GATES)[number];

/** One series for each gate. */
export type SideSeries = Readonly<Record<GateName, Series>>;

/** What a gate says. */
export interface NamedGateResult extends GateResult {
  readonly gate: GateName;
}

/** How often all gates together may roll back a stage whose sides are equal. */
export const FALSE_ROLLBACK = 0.01;

/** How often a gate may let a regression of `advanceBelow` go on. */
export const MISSED_REGRESSION = 0.01;

/** Series that are judged side by side: since the stage began, and since the day began. */
export const HORIZONS = 2;

/** What one series of one gate may get wrong. */
export const LEVELS: SeriesLevels = {
  falseAlarm: FALSE_ROLLBACK / GATES.length / HORIZONS,
  // All gates must pass, so that each may have the whole error.
  missed: MISSED_REGRESSION,
};

const COMPARISONS: Readonly<Record<GateName, Comparison>> = {
  errorRate: rateComparison,
  queueP95: p95Comparison,
  coldStartP95: p95Comparison,
  executionP95: p95Comparison,
  costPerPicture: meanComparison,
  parity: plainRate,
  missing: plainRate,
};

/** How much more a small share of the jobs may risk: what users meet is the share times that. */
const LARGEST_ALLOWANCE = 5;

/**
 * Looks at all gates.
 *
 * @param share share of new jobs that the next stage gives to the new side, 0 to 1. The smaller, the further the lines of going on:
 *   by 1/share, at most five times. The lines of rolling back stay.
 */
export function lookAtGates(
  limits: Thresholds,
  current: SideSeries,
  baseline: SideSeries,
  share = 1,
): readonly NamedGateResult[] {
  const allowance = Math.min(LARGEST_ALLOWANCE, 1 / Math.max(share, 1 / LARGEST_ALLOWANCE));
  return GATES.flatMap((gate) => {
    const lines = linesOf(limits, gate, allowance);
    if (lines === undefined) return [];
    return [{ gate, ...look(COMPARISONS[gate], current[gate], baseline[gate], lines, LEVELS) }];
  });
}

function linesOf(limits: Thresholds, gate: GateName, allowance: number): Lines | undefined {
  const ratio = (advanceBelow: number): number => 1 + (advanceBelow - 1) * allowance;
  const rate = (advanceBelow: number): number => Math.min(1, advanceBelow * allowance);
  switch (gate) {
    case 'errorRate': {
      const { rollBackAbove, advanceBelow, negligible } = limits.errorRate;
      return { rollBackAbove, advanceBelow: ratio(advanceBelow), negligible: rate(negligible) };
    }
    case 'costPerPicture': {
      const { rollBackAbove, advanceBelow, negligibleUsd } = limits.costPerPicture;
      return { rollBackAbove, advanceBelow: ratio(advanceBelow), negligible: negligibleUsd };
    }
    case 'parity': {
      if (limits.parity === 'not_judged') return undefined;
      return { ...limits.parity, advanceBelow: rate(limits.parity.advanceBelow), negligible: 0 };
    }
    case 'missing':
      return { ...limits.missing, negligible: 0 };
    default: {
      const latency = limits[gate];
      if (latency === 'not_judged') return undefined;
      const { rollBackAbove, advanceBelow, negligibleMs } = latency;
      return { rollBackAbove, advanceBelow: ratio(advanceBelow), negligible: negligibleMs };
    }
  }
}
