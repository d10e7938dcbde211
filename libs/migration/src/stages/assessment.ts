/** What speaks against staying at a stage, and against going on. Pure. */
import type { EndpointMigration } from '../file/migration-file.ts';
import { lookAtGates, type GateName, type NamedGateResult } from '../gates/gates.ts';
import { getsTooFew, sidesOf } from '../gates/measurements.ts';
import type { Observation } from '../gates/observation.ts';
import { FIRST_LOOK } from '../statistics/looks.ts';
import { isRunning, nextStage, shareOf } from './stage.ts';
import type { StageState } from './stage-state.ts';

const HOUR_MS = 60 * 60 * 1_000;
const DAY_MS = 24 * HOUR_MS;

/** Why a stage is rolled back, or the next one refused. */
export interface Finding {
  readonly code:
    | 'gate'
    | 'jobs_lost'
    | 'missing_measurements'
    | 'too_few_jobs'
    | 'too_early'
    | 'held'
    | 'not_permitted'
    | 'models_not_verified'
    | 'no_next_stage'
    | 'old_side_in_use';
  readonly message: string;
  /** The gate that misses. */
  readonly gate?: GateName;
  /** Jobs that there are, and that the claim needs. */
  readonly jobs?: number;
  readonly needed?: number;
}

/** What is known of an endpoint. */
export interface Known {
  readonly state: StageState;
  readonly migration: EndpointMigration;
  readonly backends: { readonly old: string; readonly new: string };
  readonly observations: readonly Observation[];
  /** Jobs of the old side that have not ended. */
  readonly unfinishedOld: number;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Why the stage must be left, at once; empty when it need not. */
export function reasonsToRollBack(known: Known): readonly Finding[] {
  const { state, migration, backends, observations, now } = known;
  if (!isRunning(state.stage)) return [];
  const lost = lostFinding(known);
  const dayBegan = Math.floor(now / DAY_MS) * DAY_MS;
  const horizons = dayBegan > state.since ? [state.since, dayBegan] : [state.since];
  const worse = horizons.flatMap((since) => {
    const { current, baseline } = sidesOf(observations, backends, since);
    return lookAtGates(migration.thresholds, current, baseline).filter(({ state: is }) => is === 'worse');
  });
  const gates = new Map(worse.map((result) => [result.gate, result]));
  return [...lost, ...tooFewFinding(known), ...[...gates.values()].map(worseFinding)];
}

/** Why the next stage is refused; empty when it may come. The figures of all gates are beside it. */
export function reasonsAgainstAdvancing(
  known: Known,
  modelsVerified: boolean,
): { readonly findings: readonly Finding[]; readonly gates: readonly NamedGateResult[] } {
  const { state, migration, backends, observations } = known;
  const next = nextStage(state.stage);
  if (next === undefined)
    return { findings: [{ code: 'no_next_stage', message: 'The migration is complete.' }], gates: [] };
  if (state.stage === 'off') return { findings: modelsVerified ? [] : [MODELS_NOT_VERIFIED], gates: [] };
  if (state.stage === 'models_verified') return { findings: [], gates: [] };
  const { current, baseline } = sidesOf(observations, backends, state.evidenceSince);
  const gates = lookAtGates(migration.thresholds, current, baseline, shareOf(next));
  const isLast = state.stage === 'ramp_down';
  const findings = [
    ...reasonsToRollBack(known),
    // In ramp_down the old side has nothing new to compare with: what was not bad enough to roll back may end.
    ...(isLast ? [] : gates.filter(({ state: is }) => is !== 'fine').map(missedFinding)),
    ...(isLast ? [] : jobsFinding(known)),
    ...timeFinding(known),
    ...oldSideFinding(known),
  ];
  return { findings: distinct(findings), gates };
}

const MODELS_NOT_VERIFIED: Finding = {
  code: 'models_not_verified',
  message: 'Nobody has verified the models on the new side: run the volume copy, or check the models, first.',
};

function lostFinding({ state, backends, observations }: Known): readonly Finding[] {
  const lost = observations.filter(
    (each) => each.isLost && each.backend === backends.new && each.createdAt >= state.since,
  );
  if (lost.length === 0) return [];
  const ids = lost.slice(0, 3).map(({ id }) => id);
  return [{ code: 'jobs_lost', message: `${lost.length} jobs lost on the new side: ${ids.join(', ')}.` }];
}

function tooFewFinding({ state, backends, observations }: Known): readonly Finding[] {
  const share = shareOf(state.stage);
  if (!getsTooFew(observations, backends, state.since, share)) return [];
  const message = `The new side gets less than half of the ${share * 100} % of jobs that it should: it refuses them, or they are not routed there.`;
  return [{ code: 'missing_measurements', message }];
}

function worseFinding({ gate, current, baseline, interval, lines, looked }: NamedGateResult): Finding {
  return {
    code: gate === 'missing' ? 'missing_measurements' : 'gate',
    gate,
    jobs: looked,
    message: `${gate}: new ${shown(current)}, old ${shown(baseline)}; surely above ${shown(interval.lower)}, and ${shown(lines.rollBackAbove)} is the line (${looked} jobs).`,
  };
}

function missedFinding(result: NamedGateResult): Finding {
  const { gate, current, baseline, interval, lines, available, needed } = result;
  const figures = `new ${shown(current)}, old ${shown(baseline)}`;
  if (result.state === 'worse') return worseFinding(result);
  const bound = Number.isFinite(interval.upper)
    ? `it may be as high as ${shown(interval.upper)}`
    : 'nothing bounds it yet';
  return {
    code: 'gate',
    gate,
    jobs: available,
    ...(needed === undefined ? {} : { needed }),
    message: `${gate}: ${figures}; ${bound}, and must surely be below ${shown(lines.advanceBelow)}. There are ${available} jobs; the claim needs about ${needed ?? '?'}.`,
  };
}

function jobsFinding({ state, backends, observations }: Known): readonly Finding[] {
  const jobs = observations.filter(
    ({ backend, createdAt }) => backend === backends.new && createdAt >= state.since,
  ).length;
  if (jobs >= FIRST_LOOK) return [];
  const message = `Only ${jobs} jobs have run on the new side at this stage; it takes ${FIRST_LOOK}.`;
  return [{ code: 'too_few_jobs', message, jobs, needed: FIRST_LOOK }];
}

function timeFinding({ state, migration, now }: Known): readonly Finding[] {
  const hours = state.stage === 'live' ? migration.liveDays * 24 : migration.minimumHours;
  const left = state.since + hours * HOUR_MS - now;
  if (left <= 0) return [];
  const message = `${state.stage} lasts at least ${hours} h: ${(left / HOUR_MS).toFixed(1)} h more.`;
  return [{ code: 'too_early', message }];
}

function oldSideFinding(known: Known): readonly Finding[] {
  const { state, backends, observations, migration, unfinishedOld, now } = known;
  if (state.stage !== 'ramp_down') return [];
  const quietSince = now - migration.quietHours * HOUR_MS;
  const recent = observations.filter(
    ({ backend, createdAt }) => backend === backends.old && createdAt >= quietSince,
  ).length;
  if (recent + unfinishedOld === 0) return [];
  const message = `The old side had ${recent} jobs in the last ${migration.quietHours} hours, and ${unfinishedOld} have not ended.`;
  return [{ code: 'old_side_in_use', message }];
}

/** One finding for each gate. */
function distinct(findings: readonly Finding[]): readonly Finding[] {
  const seen = new Set<string>();
  return findings.filter(({ gate, message }) => {
    const key = gate ?? message;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function shown(value: number | undefined): string {
  return value === undefined ? 'not known' : String(Number(value.toPrecision(3)));
}
