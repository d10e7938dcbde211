import { type Clock, type JobStore, systemClock } from '@ryla/business';

import { type FileChange, stageChange } from '../file/file-change.ts';
import { backendsOf, type MigrationFile, migrationOf, parseMigrationFile } from '../file/migration-file.ts';
import type { NamedGateResult } from '../gates/gates.ts';
import { JobHistory } from '../gates/job-history.ts';
import { readingFrom } from '../gates/measurements.ts';
import { MigrationError } from '../migration-error.ts';
import { type Finding, type Known, reasonsAgainstAdvancing, reasonsToRollBack } from './assessment.ts';
import { type SpentToday, spentToday } from './shadow-budget.ts';
import { compareStages, earlierOf, isRunning, nextStage, ROLLBACK_STAGE, type Stage } from './stage.ts';
import { type Change, changeStage, moved, readStage, type StageState } from './stage-state.ts';

/** Options of {@link createMigration}. */
export interface MigrationOptions {
  readonly store: JobStore;
  /** Text of ryla.migration.json, read anew for every call. */
  readonly fileText: () => Promise<string>;
  readonly clock?: Pick<Clock, 'now'>;
}

/** Where an endpoint stands. */
export interface MigrationStatus {
  readonly endpoint: string;
  readonly state: StageState;
  /** The highest stage that the file permits. */
  readonly permitted: Stage;
  /** The stage in effect: the earlier of both. */
  readonly effective: Stage;
  readonly next: Stage | undefined;
  /** What the next stage looks at; empty before shadow. */
  readonly gates: readonly NamedGateResult[];
  /** Why `advance` would refuse; empty when it would not. */
  readonly blockers: readonly Finding[];
  /** Why the stage is to be rolled back; the judge does so. */
  readonly alarms: readonly Finding[];
  readonly shadow: SpentToday & { readonly usdPerDay: number };
}

/** What became of `advance`. */
export type Advance =
  | { readonly advanced: true; readonly from: Stage; readonly to: Stage }
  | { readonly advanced: false; readonly from: Stage; readonly refusals: readonly Finding[] };

/** What became of `rollback`. */
export interface Rollback {
  readonly from: Stage;
  readonly to: Stage;
  /** The change of the file that keeps it so; undefined when the file permits no more already. */
  readonly proposal: FileChange | undefined;
}

/** Moves endpoints through the stages. */
export interface Migration {
  status(endpoint: string): Promise<MigrationStatus>;
  /** Status of every endpoint of the file. */
  statuses(): Promise<readonly MigrationStatus[]>;
  /**
   * Goes to the next stage if its gates pass.
   *
   * @param options `modelsVerified`: whether the models on the new side were verified, for the first stage.
   */
  advance(
    endpoint: string,
    change: Change,
    options?: { readonly modelsVerified?: boolean },
  ): Promise<Advance>;
  /** Stays at the stage: `advance` refuses until `resume`. Automatic rollback goes on. */
  hold(endpoint: string, change: Change): Promise<void>;
  /** Ends a hold. */
  resume(endpoint: string): Promise<void>;
  /**
   * Goes back, in effect in every running service within a second, and holds.
   *
   * @param to an earlier stage; `models_verified` without it: nothing runs on the new side then.
   * @throws {MigrationError} `nothing_to_roll_back`.
   */
  rollback(endpoint: string, change: Change, to?: Stage): Promise<Rollback>;
  /** Rolls back what has to be; for the instance that holds the lease. */
  judge(): Promise<
    readonly (Rollback & { readonly endpoint: string; readonly findings: readonly Finding[] })[]
  >;
}

/** Moves endpoints through the stages, by the file and the job store. */
export function createMigration({ store, fileText, clock = systemClock }: MigrationOptions): Migration {
  const histories = new Map<string, JobHistory>();
  let lastFile: MigrationFile | undefined;

  async function readFile(): Promise<MigrationFile> {
    lastFile = parseMigrationFile(await fileText());
    return lastFile;
  }

  /** A file that somebody broke must not end automatic rollback. */
  async function readFileOrLast(): Promise<MigrationFile> {
    try {
      return await readFile();
    } catch (error) {
      if (lastFile === undefined) throw error;
      return lastFile;
    }
  }

  function historyOf(endpoint: string): JobHistory {
    const known = histories.get(endpoint) ?? new JobHistory(store, endpoint, clock);
    histories.set(endpoint, known);
    return known;
  }

  async function knownOf(file: MigrationFile, endpoint: string): Promise<Known> {
    const migration = migrationOf(file, endpoint);
    const stored = await readStage(store, endpoint);
    // What the file no longer permits is not in effect.
    const state = { ...stored, stage: earlierOf(stored.stage, migration.stage) };
    const now = clock.now();
    const backends = backendsOf(migration, endpoint);
    const history = historyOf(endpoint);
    const observations = isRunning(state.stage)
      ? await history.since(
          readingFrom(Math.min(state.since, state.evidenceSince), now),
          migration.stuckAfterMinutes * 60_000,
        )
      : [];
    const unfinishedOld = history.unfinished.filter(({ backend }) => backend === backends.old).length;
    return { state, migration, backends, observations, unfinishedOld, now };
  }

  async function statusOf(file: MigrationFile, endpoint: string): Promise<MigrationStatus> {
    const known = await knownOf(file, endpoint);
    const { findings, gates } = refusalsOf(known, true);
    return {
      endpoint,
      state: await readStage(store, endpoint),
      permitted: known.migration.stage,
      effective: known.state.stage,
      next: nextStage(known.state.stage),
      gates,
      blockers: findings,
      alarms: reasonsToRollBack(known),
      shadow: {
        ...(await spentToday(store, endpoint, known.now)),
        usdPerDay: known.migration.shadow.usdPerDay,
      },
    };
  }

  async function goBack(endpoint: string, change: Change, to: Stage): Promise<Stage> {
    const { before, after } = await changeStage(store, endpoint, (state) => {
      if (compareStages(to, state.stage) >= 0) return undefined;
      const at = clock.now();
      return { ...moved(state, to, change, at), hold: { at, ...change } };
    });
    if (after !== undefined) return before.stage;
    throw new MigrationError(
      'nothing_to_roll_back',
      `${endpoint} is at ${before.stage}, which is not after ${to}.`,
      { endpoint },
    );
  }

  async function rollBack(endpoint: string, change: Change, to: Stage): Promise<Rollback> {
    // The store comes first: it is what running services see.
    const from = await goBack(endpoint, change, to);
    const proposal = await fileText()
      .then((text) => stageChange(text, endpoint, to))
      .catch(() => undefined);
    return { from, to, proposal };
  }

  return {
    status: async (endpoint) => statusOf(await readFile(), endpoint),
    async statuses() {
      const file = await readFile();
      const all: MigrationStatus[] = [];
      for (const endpoint of Object.keys(file.endpoints)) all.push(await statusOf(file, endpoint));
      return all;
    },
    async advance(endpoint, change, options = {}) {
      const known = await knownOf(await readFile(), endpoint);
      const from = known.state.stage;
      const { findings } = refusalsOf(known, options.modelsVerified ?? false);
      const to = nextStage(from);
      if (findings.length > 0 || to === undefined) return { advanced: false, from, refusals: findings };
      const { after, before } = await changeStage(store, endpoint, (state) =>
        // What was judged is no longer so when somebody moved or held it meanwhile.
        state.since !== known.state.since || state.hold !== null
          ? undefined
          : moved({ ...state, stage: from }, to, change, clock.now()),
      );
      if (after !== undefined) return { advanced: true, from, to };
      const message = `Somebody moved or held ${endpoint} meanwhile; it is at ${before.stage}.`;
      return { advanced: false, from: before.stage, refusals: [{ code: 'held', message }] };
    },
    async hold(endpoint, change) {
      migrationOf(await readFile(), endpoint);
      await changeStage(store, endpoint, (state) => ({ ...state, hold: { at: clock.now(), ...change } }));
    },
    async resume(endpoint) {
      migrationOf(await readFile(), endpoint);
      await changeStage(store, endpoint, (state) =>
        state.hold === null ? undefined : { ...state, hold: null },
      );
    },
    async rollback(endpoint, change, to = ROLLBACK_STAGE) {
      return rollBack(endpoint, change, to);
    },
    async judge() {
      const file = await readFileOrLast();
      const done = [];
      for (const endpoint of Object.keys(file.endpoints)) {
        const findings = reasonsToRollBack(await knownOf(file, endpoint));
        if (findings.length === 0) continue;
        const reason = findings.map(({ message }) => message).join(' ');
        const rollback = await rollBack(endpoint, { by: 'automatic', reason }, ROLLBACK_STAGE);
        done.push({ endpoint, findings, ...rollback });
      }
      return done;
    },
  };
}

function refusalsOf(known: Known, modelsVerified: boolean): ReturnType<typeof reasonsAgainstAdvancing> {
  const { state, migration } = known;
  const { findings, gates } = reasonsAgainstAdvancing(known, modelsVerified);
  const next = nextStage(state.stage);
  const refusals: Finding[] = [];
  if (state.hold !== null)
    refusals.push({ code: 'held', message: `Held by ${state.hold.by}: ${state.hold.reason}` });
  if (next !== undefined && compareStages(next, migration.stage) > 0) {
    const message = `ryla.migration.json permits ${migration.stage} and no more; ${next} takes a pull request.`;
    refusals.push({ code: 'not_permitted', message });
  }
  return { findings: [...refusals, ...findings], gates };
}
