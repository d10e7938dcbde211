/** `ryla migrate status`, `advance`, `hold`, `resume`, `rollback`. */
import { readFile } from 'node:fs/promises';
import process from 'node:process';

import type { JobStore } from '@ryla/business';
import {
  backendsOf,
  type Change,
  compareStages,
  type FileChange,
  type Finding,
  judgeStatus,
  migrationOf,
  type MigrationStatus,
  modelsVerified,
  parseMigrationFile,
  SHADOW_TAG,
  type Stage,
  stageChange,
} from '@ryla/migration';

import { changedBy } from '../changed-by.ts';
import { UsageError } from '../exit-codes.ts';
import { judgeDocument, judgeText, judgeWarnings } from './judge-report.ts';
import {
  inMigration,
  type MigrateOptions,
  type MigrationPlace,
  REFUSED,
  writeChange,
} from './migration-place.ts';
import { type Counted, findingLines, statusDocument, statusText } from './stage-report.ts';

/** Options of what changes the job store. */
export interface ChangeOptions extends MigrateOptions {
  readonly reason: string;
  readonly by?: string;
}

/** Options of `advance`. */
export interface AdvanceOptions extends ChangeOptions {
  readonly to?: Stage;
  readonly modelsVerified?: boolean;
  readonly write?: boolean;
}

/** Options of `rollback`. */
export interface RollbackOptions extends ChangeOptions {
  readonly to: Stage;
  readonly write?: boolean;
}

/** Shows where one endpoint stands, or all. */
export async function status(endpoint: string | undefined, options: MigrateOptions): Promise<void> {
  await inMigration(options, async (place) => {
    const { migration, output, store } = place;
    const statuses = endpoint === undefined ? await migration.statuses() : [await migration.status(endpoint)];
    const judge = await judgeStatus(store);
    const now = Date.now();
    const counted: Counted[] = [];
    for (const each of statuses) counted.push(await countJobs(place, each));
    const warnings = judgeWarnings(judge, statuses, now);
    output.result(
      {
        judged: judge.isHeld,
        judge: judgeDocument(judge),
        warnings,
        endpoints: counted.map(statusDocument),
      },
      counted.length === 0
        ? 'ryla.migration.json names no endpoint.'
        : counted.map((each) => statusText(each, judgeText(judge, now))).join('\n\n'),
    );
    for (const warning of warnings) output.note(`Warning: ${warning}`);
  });
}

/** Goes on by one stage, or up to one. */
export async function advance(endpoint: string, options: AdvanceOptions): Promise<void> {
  await inMigration(options, async (place) => {
    const { output } = place;
    const { effective: from } = await place.migration.status(endpoint);
    if (options.to !== undefined && compareStages(options.to, from) <= 0)
      throw new UsageError(`${endpoint} is at ${from}, which is not before ${options.to}.`);
    const taken: Stage[] = [];
    let last = await step(place, endpoint, options);
    while (last.to !== undefined) {
      taken.push(last.to);
      output.note(`${endpoint}: ${last.from} → ${last.to}`);
      if (options.to === undefined || last.to === options.to) break;
      last = await step(place, endpoint, options);
    }
    const { refusals, proposal } = last;
    const at = taken.at(-1) ?? from;
    output.result(
      { endpoint, from, to: at, advanced: taken, refusals, proposal: shownProposal(proposal) },
      [
        `${endpoint} is at ${at}.`,
        ...(refusals.length === 0 ? [] : [`It does not go on:`, ...findingLines(refusals)]),
        ...proposalLines(proposal),
      ].join('\n'),
    );
    if (refusals.length > 0) process.exitCode = REFUSED;
  });
}

/** Keeps an endpoint at its stage. */
export async function hold(endpoint: string, options: ChangeOptions): Promise<void> {
  await inMigration(options, async ({ migration, output }) => {
    await migration.hold(endpoint, changeOf(options));
    const { effective } = await migration.status(endpoint);
    output.result(
      { endpoint, stage: effective, held: true },
      `${endpoint} is held at ${effective}. \`ryla migrate resume ${endpoint}\` ends that.`,
    );
  });
}

/** Ends a hold. */
export async function resume(endpoint: string, options: ChangeOptions): Promise<void> {
  await inMigration(options, async ({ migration, output }) => {
    await migration.resume(endpoint);
    const { effective } = await migration.status(endpoint);
    output.result({ endpoint, stage: effective, held: false }, `${endpoint} may go on from ${effective}.`);
  });
}

/** Goes back. */
export async function rollback(endpoint: string, options: RollbackOptions): Promise<void> {
  await inMigration(options, async ({ migration, output, file }) => {
    migrationOf(parseMigrationFile(await readFile(file, 'utf8')), endpoint);
    const { from, to, proposal } = await migration.rollback(endpoint, changeOf(options), options.to);
    // The store comes first: it is what running services see.
    const written = options.write === true && proposal !== undefined;
    if (written) await writeChange(file, proposal);
    output.result(
      { endpoint, from, to, written, proposal: shownProposal(proposal) },
      [
        `${endpoint}: ${from} → ${to}, held. New jobs follow within a second; those in flight finish where they are.`,
        ...(written ? [`ryla.migration.json is changed: commit it.`] : proposalLines(proposal)),
        `\`ryla migrate resume ${endpoint}\` lets it go on again.`,
      ].join('\n'),
    );
  });
}

interface Step {
  readonly from: Stage;
  /** The stage that it went to; undefined when it did not. */
  readonly to?: Stage;
  readonly refusals: readonly Finding[];
  readonly proposal?: FileChange | undefined;
}

async function step(place: MigrationPlace, endpoint: string, options: AdvanceOptions): Promise<Step> {
  const { migration, store, file } = place;
  const verified = await modelsVerified(store, endpoint);
  const isVerified = options.modelsVerified === true || verified !== undefined;
  const change = changeOf(options);
  const before = await migration.status(endpoint);
  const withSource =
    before.effective === 'off' && verified !== undefined
      ? { ...change, reason: `${change.reason}; ${verified.files} files of ${verified.source} verified` }
      : change;
  const first = await migration.advance(endpoint, withSource, { modelsVerified: isVerified });
  if (first.advanced) return { from: first.from, to: first.to, refusals: [] };
  const { from, refusals } = first;
  // A stage whose gates miss is not worth a pull request yet.
  const isOnlyByFile = refusals.every(({ code }) => code === 'not_permitted');
  if (!isOnlyByFile || before.next === undefined) return { from, refusals };
  const proposal = stageChange(await readFile(file, 'utf8'), endpoint, before.next);
  if (options.write !== true || proposal === undefined) return { from, refusals, proposal };
  await writeChange(file, proposal);
  place.output.note(
    `ryla.migration.json permits ${before.next} now: commit it, and deploy it with your services.`,
  );
  const second = await migration.advance(endpoint, withSource, { modelsVerified: isVerified });
  if (second.advanced) return { from: second.from, to: second.to, refusals: [] };
  return { from: second.from, refusals: second.refusals };
}

function changeOf({ by, reason }: ChangeOptions): Change {
  return { by: changedBy(by), reason };
}

function shownProposal(proposal: FileChange | undefined): Omit<FileChange, 'text'> | null {
  if (proposal === undefined) return null;
  const { path, endpoint, from, to, diff } = proposal;
  return { path, endpoint, from, to, diff };
}

function proposalLines(proposal: FileChange | undefined): readonly string[] {
  if (proposal === undefined) return [];
  return [`The change of ${proposal.path} (--write makes it):`, proposal.diff];
}

async function countJobs({ store, file }: MigrationPlace, status: MigrationStatus): Promise<Counted> {
  const { endpoint } = status;
  const backends = backendsOf(
    migrationOf(parseMigrationFile(await readFile(file, 'utf8')), endpoint),
    endpoint,
  );
  const count = async (filter: Parameters<JobStore['count']>[0]): Promise<number> =>
    Object.values(await store.count({ endpoint, ...filter })).reduce((sum, each) => sum + each, 0);
  return {
    status,
    backends,
    verified: status.effective === 'off' ? await modelsVerified(store, endpoint) : undefined,
    jobs: {
      old: await count({ backend: backends.old }),
      new: await count({ backend: backends.new }),
      shadow: await count({ tag: SHADOW_TAG }),
    },
  };
}
