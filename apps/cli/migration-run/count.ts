/** What a run must have been, counted afterwards from what the user, the services, the store and the engines say. Pure. */
import type { JobRecord, StateEntry } from '@ryla/business';
import { SHADOW_TAG, type Stage, STAGES } from '@ryla/migration';
import { z } from 'zod';

import type { Refused } from './advancing.ts';
import type { Resources } from './clouds.ts';
import type { EngineRuns } from './engine.ts';
import type { ServiceEvent } from './processes.ts';
import type { Ledger } from './protocol.ts';
import type { SpendSample } from './spend.ts';
import type { Moment } from './timeline.ts';

/** Milliseconds within which every service must have seen a rollback. */
export const ROLLBACK_MS = 1_000;

/** Stages that must refuse whoever comes too early, with numbers. */
export const GATED: readonly Stage[] = ['shadow', 'canary_1', 'canary_5', 'canary_25', 'canary_50', 'live'];

/** US dollars a day that shadow jobs of an endpoint may cost in a run. */
export const USD_PER_DAY = 0.75;

/** Moments that the run tells; milliseconds since 1970. */
export interface Told {
  /** When the new side of an endpoint began to fail, and which. */
  readonly brokenAt: number;
  readonly broken: string;
  /** Between these the cap allowed no shadow job. */
  readonly capAt: number;
  readonly capUntil: number;
  /** Whether a second copy of the volume copied anything. */
  readonly isCopiedAgain: boolean;
  /** Workers of RunPod's endpoints once these were switched off. */
  readonly workers: ReadonlyMap<string, { readonly min: number; readonly max: number }>;
  /** What RunPod's account holds after the deletions. */
  readonly left: Resources;
}

/** What is counted. */
export interface Evidence {
  readonly ledger: Ledger;
  readonly refusals: readonly Refused[];
  readonly told: Told;
  readonly events: readonly ServiceEvent[];
  readonly services: number;
  readonly endpoints: readonly string[];
  readonly runs: ReadonlyMap<string, EngineRuns>;
  readonly records: readonly JobRecord[];
  readonly spend: readonly SpendSample[];
  readonly stages: readonly StateEntry[];
}

/** One thing that must hold. */
export interface Check {
  readonly name: string;
  /** What was found, in numbers. */
  readonly found: string;
  readonly held: boolean;
}

/** A run's result. */
export interface Counted {
  readonly held: boolean;
  readonly checks: readonly Check[];
  readonly timeline: readonly Moment[];
}

const stageState = z.object({
  stage: z.enum(STAGES),
  history: z.array(z.object({ at: z.number(), from: z.enum(STAGES), to: z.enum(STAGES), by: z.string() })),
});

type StageState = z.infer<typeof stageState>;

/** Counts. */
export function countRun(evidence: Evidence): readonly Check[] {
  return [
    lostCheck(evidence),
    twiceCheck(evidence),
    failureCheck(evidence),
    judgeCheck(evidence),
    seenCheck(evidence),
    routedCheck(evidence),
    spendCheck(evidence),
    capCheck(evidence),
    gatesCheck(evidence),
    endCheck(evidence),
    deletedCheck(evidence),
    volumeCheck(evidence),
  ];
}

function lostCheck({ ledger, records }: Evidence): Check {
  const users = records.filter((job) => !isShadow(job));
  const lost = users.filter(({ status }) => status === 'lost' || isOpen(status)).length;
  const missing = ledger.unanswered.length + ledger.empty.length + Math.max(0, ledger.asked - users.length);
  return {
    name: 'jobs lost',
    held: lost + missing === 0 && ledger.asked > 0,
    found: `${lost + missing} of ${ledger.asked} that the client asked for (${ledger.succeeded} pictures, ${ledger.failed} told to have failed)`,
  };
}

function twiceCheck({ ledger, records, runs }: Evidence): Check {
  const users = records.filter((job) => !isShadow(job));
  const twice = users.filter(({ id, status, attempt }) => {
    const { started = 0, completed = 0, sides } = runs.get(id) ?? {};
    return started > attempt || (sides?.size ?? 0) > 1 || completed !== (status === 'succeeded' ? 1 : 0);
  });
  const more = Math.max(0, users.length - ledger.asked) + ledger.repeated.length;
  const pairs = records.flatMap(({ tags }) => tags.filter((tag) => tag.startsWith(`${SHADOW_TAG}:of:`)));
  const shadowed = pairs.length - new Set(pairs).size;
  const completed = users.reduce((sum, { id }) => sum + (runs.get(id)?.completed ?? 0), 0);
  return {
    name: 'run twice',
    held: twice.length + more + shadowed === 0,
    found: `${twice.length + more} jobs of users, by ${completed} pictures that the engines made for them; ${shadowed} shadow jobs beyond one each`,
  };
}

/** Users may only meet errors that come from the fault, on its side, until a second after the rollback. */
function failureCheck(evidence: Evidence): Check {
  const { records, told } = evidence;
  const rolledBackAt = automatic(evidence, told.broken)?.at ?? Infinity;
  const failed = records.filter((job) => !isShadow(job) && job.status === 'failed');
  const isByFault = ({ backend, createdAt }: JobRecord): boolean =>
    backend === `modal:${told.broken}` && createdAt <= rolledBackAt + ROLLBACK_MS;
  const others = failed.filter((job) => !isByFault(job));
  const examples = others.slice(0, 3).map(({ id, error }) => `${id} ${error?.code ?? ''}`);
  return {
    name: 'other failures',
    held: others.length === 0,
    found: `${others.length}${examples.length === 0 ? '' : ` (${examples.join(', ')})`}; ${failed.length - others.length} by the injected fault`,
  };
}

function judgeCheck(evidence: Evidence): Check {
  const { events, told, endpoints } = evidence;
  const judged = events.filter((each) => each.told.type === 'rollback');
  const found = automatic(evidence, told.broken);
  const others = endpoints.filter((name) => name !== told.broken && automatic(evidence, name) !== undefined);
  const seconds = ((found?.at ?? NaN) - told.brokenAt) / 1000;
  return {
    name: 'automatic rollback',
    held: found !== undefined && judged.length === 1 && others.length === 0,
    found:
      found === undefined
        ? 'none'
        : `${told.broken} from ${found.from} to ${found.to} ${seconds.toFixed(1)} s after the fault, by ${judged.length} of the services; ${others.length} of the other endpoint`,
  };
}

/** From the moment that the judge took for its change, just before it was written, to what each process says. */
function seenCheck(evidence: Evidence): Check {
  const { events, told, services } = evidence;
  const rollback = automatic(evidence, told.broken);
  if (rollback === undefined) return { name: 'rollback seen', held: false, found: 'there was none' };
  const delays = Array.from({ length: services }, (_, index) => {
    const seen = events.find(
      ({ service, told: each }) =>
        service === index &&
        each.type === 'stage' &&
        each.endpoint === told.broken &&
        each.stage === rollback.to &&
        each.at >= rollback.at,
    );
    return seen?.told.type === 'stage' ? seen.told.at - rollback.at : Infinity;
  });
  return {
    name: 'rollback seen',
    held: delays.every((delay) => delay <= ROLLBACK_MS),
    found: `by each of ${services} services after ${delays.map((delay) => `${delay} ms`).join(', ')}`,
  };
}

/** No new job goes to the new side later than a second after the rollback, until a share is given to it again. */
function routedCheck(evidence: Evidence): Check {
  const { events, told } = evidence;
  const rollback = automatic(evidence, told.broken);
  if (rollback === undefined) return { name: 'after the rollback', held: false, found: 'there was none' };
  const again =
    stateOf(evidence, told.broken)?.history.find(({ at, to }) => at > rollback.at && to === 'canary_1')?.at ??
    Infinity;
  const submitted = events.flatMap(({ told: each }) =>
    each.type === 'submitted' &&
    each.backend.endsWith(`:${told.broken}`) &&
    each.at > rollback.at + ROLLBACK_MS
      ? [each]
      : [],
  );
  const inBetween = submitted.filter(({ at }) => at < again);
  const wrong = inBetween.filter(({ backend }) => backend.startsWith('modal:')).length;
  return {
    name: 'after the rollback',
    held: wrong === 0 && inBetween.length > 0,
    found: `${wrong} of ${inBetween.length} jobs went to the new side before it got a share again`,
  };
}

function spendCheck({ spend, records, endpoints }: Evidence): Check {
  const over = spend.filter(({ usd }) => usd > USD_PER_DAY).length;
  const found = endpoints.map((endpoint) => {
    const most = Math.max(0, ...spend.filter((each) => each.endpoint === endpoint).map(({ usd }) => usd));
    const real = records
      .filter((job) => job.endpoint === endpoint && isShadow(job))
      .reduce((sum, { cost }) => sum + (cost?.estimated === false ? cost.usd : 0), 0);
    return `${endpoint} at most $${most.toFixed(2)} set aside or spent, $${real.toFixed(3)} spent`;
  });
  return {
    name: 'shadow spend',
    held: over === 0 && spend.some(({ usd }) => usd > 0),
    found: `${over} of ${spend.length} looks above $${USD_PER_DAY} a day: ${found.join('; ')}`,
  };
}

function capCheck({ records, told }: Evidence): Check {
  const inside = records.filter(
    ({ createdAt }) => createdAt > told.capAt + ROLLBACK_MS && createdAt < told.capUntil,
  );
  const shadows = inside.filter((job) => isShadow(job)).length;
  return {
    name: 'cap reached',
    held: shadows === 0 && inside.length > 0,
    found: `${shadows} shadow jobs beside ${inside.length} jobs of users`,
  };
}

function gatesCheck({ refusals, endpoints }: Evidence): Check {
  const missing = endpoints.flatMap((endpoint) =>
    GATED.filter(
      (stage) =>
        !refusals.some(
          (each) => each.endpoint === endpoint && each.stage === stage && each.reasons.some(saysTooFew),
        ),
    ).map((stage) => `${endpoint} ${stage}`),
  );
  return {
    name: 'gates refuse early',
    held: missing.length === 0,
    found: `${refusals.length} times, with numbers${missing.length === 0 ? '' : `; not at ${missing.join(', ')}`}`,
  };
}

/** Whether a refusal says how many jobs there are, and how many it takes. */
function saysTooFew(reason: string): boolean {
  const [, have, need] =
    /There are (\d+) jobs; the claim needs about (\d+)/.exec(reason) ??
    /Only (\d+) jobs have run .* it takes (\d+)/.exec(reason) ??
    [];
  return have !== undefined && need !== undefined && Number(have) < Number(need);
}

function endCheck(evidence: Evidence): Check {
  const { endpoints } = evidence;
  const { workers } = evidence.told;
  const stages = endpoints.map((name) => stateOf(evidence, name)?.stage ?? 'off');
  const left = [...workers.values()].reduce((sum, { max }) => sum + max, 0);
  return {
    name: 'the end',
    held: stages.every((stage) => stage === 'complete') && workers.size === endpoints.length && left === 0,
    found: `${endpoints.map((name, index) => `${name} ${stages[index] ?? ''}`).join(', ')}; ${left} workers left on ${workers.size} endpoints of RunPod`,
  };
}

function deletedCheck({ told: { left } }: Evidence): Check {
  const { endpoints, templates, networkVolumes } = left;
  return {
    name: 'deleted',
    held: endpoints.length + templates.length + networkVolumes.length === 0,
    found: `${endpoints.length} endpoints, ${templates.length} templates, ${networkVolumes.length} network volumes left on RunPod`,
  };
}

function volumeCheck({ told }: Evidence): Check {
  return {
    name: 'second copy',
    held: !told.isCopiedAgain,
    found: told.isCopiedAgain ? 'it copied files again' : 'copied nothing',
  };
}

function stateOf({ stages }: Evidence, endpoint: string): StageState | undefined {
  const entry = stages.find(({ key }) => key.endsWith(`/${endpoint}`));
  return entry === undefined ? undefined : stageState.parse(entry.value);
}

function automatic(evidence: Evidence, endpoint: string): StageState['history'][number] | undefined {
  return stateOf(evidence, endpoint)?.history.find(({ by }) => by === 'automatic');
}

function isShadow({ tags }: JobRecord): boolean {
  return tags.includes(SHADOW_TAG);
}

function isOpen(status: JobRecord['status']): boolean {
  return status === 'queued' || status === 'running' || status === 'canceling';
}
