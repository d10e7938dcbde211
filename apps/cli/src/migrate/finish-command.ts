/** `ryla migrate finish`: switches RunPod off when nothing needs it any more. */
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import process from 'node:process';

import {
  type Decommission,
  type MigrationFile,
  migrationOf,
  type NamingEndpoint,
  parseMigrationFile,
  planDecommission,
  readQueueHealth,
  type Resource,
  scaleToZero,
  type VolumeCheck,
  volumeCheck,
} from '@ryla/migration';
import { createRunPodManagement, type RunPodManagement } from '@ryla/runpod-management';

import { changedBy } from '../changed-by.ts';
import { type Account, accountOf } from '../deployment/runpod-cloud.ts';
import { EXIT, UsageError } from '../exit-codes.ts';
import type { Workspace } from '../workspace.ts';
import { deleteWished, type DeletionOutcome, type DeletionWishes } from './finish-deletions.ts';
import { newestRecord, type StoredRecord, writeRecord } from './finish-record.ts';
import { deletionsDocument, deletionsText, finishDocument, finishText } from './finish-report.ts';
import {
  abortOnInterrupt,
  inMigration,
  type MigrateOptions,
  type MigrationPlace,
  REFUSED,
} from './migration-place.ts';
import { type Person, personHere } from './person.ts';
import { onRunPod } from './runpod-ids.ts';
import { checkFile } from './volume-command.ts';

/** Options of `finish`. */
export interface FinishOptions extends MigrateOptions {
  readonly apply?: boolean;
  readonly quietHours?: number;
  readonly withoutVolume?: boolean;
  readonly out: string;
  readonly delete?: boolean;
  readonly deleteEndpoint?: readonly string[];
  readonly deleteTemplate?: readonly string[];
  readonly deleteVolume?: readonly string[];
  readonly confirm?: readonly string[];
  readonly lose?: readonly string[];
}

/** What became of one endpoint. */
export interface Finished {
  readonly plan: Decommission;
  /** The kept configuration; undefined in a dry run. */
  readonly record: StoredRecord | undefined;
  /** Workers before it was scaled to 0; undefined when it was not. */
  readonly scaled: { readonly min: number; readonly max: number } | undefined;
}

/** RunPod's job API. */
const RUNPOD_API_URL = 'https://api.runpod.ai/v2';

/**
 * Looks, and with --apply acts, on one endpoint after the other; then deletes what was asked for and confirmed.
 *
 * @param person who is asked; whoever sits at the terminal without it.
 */
export async function finish(
  names: readonly string[],
  options: FinishOptions,
  person: Person | undefined = personHere(),
): Promise<void> {
  const wishes = wishesOf(options, person);
  await inMigration(options, async (place) => {
    const { workspace, output } = place;
    const file = parseMigrationFile(await readFile(place.file, 'utf8'));
    const ids = new Map(names.map((name) => [name, runpodIdOf(workspace, file, name)] as const));
    const account = accountOf(workspace);
    await using client = createRunPodManagement({
      apiKey: account.apiKey,
      ...(account.managementUrl === undefined ? {} : { baseUrl: account.managementUrl }),
    });
    using stop = abortOnInterrupt(output, 'Stopping. What was done stays done; run it again.');
    const { signal } = stop;
    const finishing = { place, file, account, client, signal, options };
    const done = await switchOff(finishing, ids, wishes !== undefined);
    const outcomes =
      wishes === undefined || signal.aborted ? [] : await deleteWished(done, wishes, client, signal);
    output.result(
      { endpoints: done.map(finishDocument), deletions: deletionsDocument(outcomes) },
      [...done.map((each) => finishText(each, options, outcomes)), ...deletionsText(outcomes)].join('\n\n'),
    );
    process.exitCode = signal.aborted
      ? EXIT.interrupted
      : (exitCodeOf(done, outcomes, wishes) ?? process.exitCode);
  });
}

interface SwitchedOff extends Finished {
  readonly again: () => Promise<Decommission>;
}

/** One after the other; what was done before Ctrl-C is told. */
async function switchOff(
  finishing: Finishing,
  ids: ReadonlyMap<string, string>,
  willDelete: boolean,
): Promise<readonly SwitchedOff[]> {
  const { client, options, signal } = finishing;
  const done: SwitchedOff[] = [];
  for (const [endpoint, runpodId] of ids) {
    const subject = { endpoint, runpodId };
    try {
      const plan = await planOf(finishing, subject, [...ids.values()]);
      const acted = await act(client, plan, { ...options, delete: willDelete }, signal);
      done.push({ plan, ...acted, again: () => planOf(finishing, subject, []) });
    } catch (error) {
      if (!signal.aborted) throw error;
      break;
    }
  }
  return done;
}

function exitCodeOf(
  done: readonly Finished[],
  outcomes: readonly DeletionOutcome[],
  wishes: DeletionWishes | undefined,
): number | undefined {
  if (outcomes.some(({ outcome }) => outcome === 'failed')) return EXIT.failed;
  const named = Object.values(wishes?.ids ?? {}).flat();
  const isBlocked = outcomes.some(({ outcome, id }) => outcome === 'blocked' && named.includes(id));
  return isBlocked || done.some(({ plan }) => plan.refusals.length > 0) ? REFUSED : undefined;
}

/** @throws {UsageError} for a confirmation of nothing. */
function wishesOf(options: FinishOptions, person: Person | undefined): DeletionWishes | undefined {
  const { confirm = [], lose = [] } = options;
  const ids = {
    endpoint: options.deleteEndpoint ?? [],
    template: options.deleteTemplate ?? [],
    'network volume': options.deleteVolume ?? [],
  };
  if (options.delete === true || Object.values(ids).some((each) => each.length > 0))
    return { all: options.delete === true, ids, confirmed: confirm, person, by: changedBy(undefined) };
  if (confirm.length > 0 || lose.length > 0)
    throw new UsageError(
      `${confirm.length > 0 ? '--confirm' : '--lose'} belongs to --delete, --delete-endpoint, --delete-template or --delete-volume.`,
    );
  return undefined;
}

interface Finishing {
  readonly place: MigrationPlace;
  readonly file: MigrationFile;
  readonly account: Account;
  readonly client: RunPodManagement;
  readonly signal: AbortSignal;
  readonly options: FinishOptions;
}

async function planOf(
  { place: { store, workspace }, account, options, ...rest }: Finishing,
  subject: { readonly endpoint: string; readonly runpodId: string },
  together: readonly string[],
): Promise<Decommission> {
  const { quietHours, withoutVolume, lose } = options;
  const record = await newestRecord(options.out, subject.endpoint, subject.runpodId);
  return await planDecommission({
    ...rest,
    ...subject,
    together,
    store,
    kept: record?.content,
    namedBy: (resource) => naming(workspace, resource),
    queueHealth: () =>
      readQueueHealth({
        apiUrl: account.apiUrl ?? RUNPOD_API_URL,
        apiKey: account.apiKey,
        endpointId: subject.runpodId,
        signal: rest.signal,
      }),
    volumeCheck: (id) => savedCheck(workspace, id),
    ...(lose === undefined ? {} : { mayLose: lose }),
    ...(quietHours === undefined ? {} : { quietHours }),
    ...(withoutVolume === undefined ? {} : { withoutVolume }),
  });
}

/** Endpoints of the workspace whose endpoint.json names something on RunPod. */
function naming(workspace: Workspace, { kind, id, name }: Resource): readonly NamingEndpoint[] {
  return workspace.endpointNames().flatMap((endpoint) => {
    const described = onRunPod(workspace, endpoint);
    if (described === undefined) return [];
    const { endpointId, template, networkVolumes } = described;
    const isNamed =
      kind === 'template'
        ? template === id
        : kind === 'network volume'
          ? networkVolumes.includes(id) || (name !== '' && networkVolumes.includes(name))
          : endpointId === id;
    return isNamed ? [{ endpoint, runpodId: endpointId }] : [];
  });
}

async function act(
  client: RunPodManagement,
  plan: Decommission,
  options: FinishOptions,
  signal: AbortSignal,
): Promise<Omit<Finished, 'plan'>> {
  const nothing = { record: undefined, scaled: undefined };
  if (plan.refusals.length > 0) return nothing;
  const isOff = plan.workers.max === 0;
  if (options.apply !== true && !(options.delete === true && isOff)) return nothing;
  signal.throwIfAborted();
  // The record comes first: nothing is changed that is not kept.
  const record = await recordOf(plan, options.out, isOff);
  if (isOff) return { record, scaled: undefined };
  return { record, scaled: (await scaleToZero(client, plan, signal)).before };
}

/** Of an endpoint that is off already, the record of before is the one that tells what it was. */
async function recordOf(
  { endpoint, runpodId, record }: Decommission,
  folder: string,
  isOff: boolean,
): Promise<StoredRecord | undefined> {
  const before = isOff ? await newestRecord(folder, endpoint, runpodId) : undefined;
  return before ?? (record === undefined ? undefined : await writeRecord(folder, record));
}

function runpodIdOf(workspace: Workspace, file: MigrationFile, name: string): string {
  migrationOf(file, name);
  const id = onRunPod(workspace, name)?.endpointId;
  if (id !== undefined) return id;
  throw new UsageError(
    `Endpoint ${name} names no RunPod endpoint: set providers.runpod.endpointId in its endpoint.json.`,
  );
}

function savedCheck(workspace: Workspace, volumeId: string): VolumeCheck | undefined {
  const file = checkFile(workspace, volumeId);
  if (!existsSync(file)) return undefined;
  return volumeCheck.parse(JSON.parse(readFileSync(file, 'utf8')));
}
