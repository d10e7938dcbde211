import { z } from 'zod';

/** Stages of an endpoint's migration, in order. */
export const STAGES = [
  'off',
  'models_verified',
  'shadow',
  'canary_1',
  'canary_5',
  'canary_25',
  'canary_50',
  'live',
  'ramp_down',
  'complete',
] as const;

/** Checks the name of a stage. */
export const stage = z.enum(STAGES);

/** One of {@link STAGES}. */
export type Stage = (typeof STAGES)[number];

/** Where an automatic rollback leads: the new side gets nothing, and what was copied stays. */
export const ROLLBACK_STAGE = 'models_verified' satisfies Stage;

const SHARES: Readonly<Record<Stage, number>> = {
  off: 0,
  models_verified: 0,
  shadow: 0,
  canary_1: 0.01,
  canary_5: 0.05,
  canary_25: 0.25,
  canary_50: 0.5,
  live: 1,
  ramp_down: 1,
  complete: 1,
};

/** Share of new jobs that go to the new side, 0 to 1. */
export function shareOf(of: Stage): number {
  return SHARES[of];
}

/** Below 0 when the first stage comes before the second, 0 when they are the same. */
export function compareStages(first: Stage, second: Stage): number {
  return STAGES.indexOf(first) - STAGES.indexOf(second);
}

/** The earlier of two stages. */
export function earlierOf(first: Stage, second: Stage): Stage {
  return compareStages(first, second) <= 0 ? first : second;
}

/** The stage after one; undefined after the last. */
export function nextStage(of: Stage): Stage | undefined {
  return STAGES[STAGES.indexOf(of) + 1];
}

/** Which side a sampled share of the real jobs runs on as well; undefined where none does. */
export function shadowedSide(of: Stage): 'old' | 'new' | undefined {
  if (of === 'live') return 'old';
  return of === 'shadow' || of.startsWith('canary') ? 'new' : undefined;
}

/** Whether the new side runs jobs that are measured, so that a rollback has something to end. */
export function isRunning(of: Stage): boolean {
  return compareStages(of, 'shadow') >= 0 && of !== 'complete';
}
