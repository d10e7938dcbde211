/** `ryla migrate finish`: switches RunPod off when nothing needs it any more. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline/promises';

import {
  type Decommission,
  type Deletion,
  type MigrationFile,
  migrationOf,
  parseMigrationFile,
  planDecommission,
  readQueueHealth,
  scaleToZero,
  type VolumeCheck,
  volumeCheck,
} from '@ryla/migration';
import { createRunPodManagement, type RunPodManagement } from '@ryla/runpod-management';

import { type Account, accountOf } from '../deployment/runpod-cloud.ts';
import { UsageError } from '../exit-codes.ts';
import { freeName } from '../free-name.ts';
import type { Workspace } from '../workspace.ts';
import { finishDocument, finishText } from './finish-report.ts';
import {
  abortOnInterrupt,
  inMigration,
  type MigrateOptions,
  type MigrationPlace,
  REFUSED,
} from './migration-place.ts';
import { onRunPod } from './runpod-ids.ts';
import { checkFile } from './volume-command.ts';

/** Options of `finish`. */
export interface FinishOptions extends MigrateOptions {
  readonly apply?: boolean;
  readonly quietHours?: number;
  readonly withoutVolume?: boolean;
  readonly out: string;
  readonly delete?: boolean;
  readonly confirm?: readonly string[];
}

/** What became of one endpoint. */
export interface Finished {
  readonly plan: Decommission;
  /** The kept configuration; undefined in a dry run. */
  readonly record?: string;
  /** Workers before it was scaled to 0; undefined when it was not. */
  readonly scaled?: { readonly min: number; readonly max: number };
  /** Ids that were deleted. */
  readonly deleted: readonly string[];
}

/** RunPod's job API. */
const RUNPOD_API_URL = 'https://api.runpod.ai/v2';

/** Looks, and with --apply and --delete acts, on one endpoint after the other. */
export async function finish(names: readonly string[], options: FinishOptions): Promise<void> {
  if (options.confirm !== undefined && options.delete !== true)
    throw new UsageError('--confirm belongs to --delete.');
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
    const done: Finished[] = [];
    for (const [endpoint, runpodId] of ids) {
      const together = [...ids.values()];
      const plan = await planOf(
        place,
        { file, endpoint, runpodId, account, client, together, signal },
        options,
      );
      done.push(await act(client, plan, options, signal));
    }
    output.result(
      { endpoints: done.map(finishDocument) },
      done.map((each) => finishText(each, options)).join('\n\n'),
    );
    if (done.some(({ plan }) => plan.refusals.length > 0)) process.exitCode = REFUSED;
  });
}

interface Asked {
  readonly file: MigrationFile;
  readonly endpoint: string;
  readonly runpodId: string;
  readonly account: Account;
  readonly client: RunPodManagement;
  readonly together: readonly string[];
  readonly signal: AbortSignal;
}

async function planOf(
  { store, workspace }: MigrationPlace,
  { account, ...asked }: Asked,
  options: FinishOptions,
): Promise<Decommission> {
  const { quietHours, withoutVolume } = options;
  return await planDecommission({
    ...asked,
    store,
    queueHealth: () =>
      readQueueHealth({
        apiUrl: account.apiUrl ?? RUNPOD_API_URL,
        apiKey: account.apiKey,
        endpointId: asked.runpodId,
        signal: asked.signal,
      }),
    volumeCheck: (id) => savedCheck(workspace, id),
    ...(quietHours === undefined ? {} : { quietHours }),
    ...(withoutVolume === undefined ? {} : { withoutVolume }),
  });
}

async function act(
  client: RunPodManagement,
  plan: Decommission,
  options: FinishOptions,
  signal: AbortSignal,
): Promise<Finished> {
  if (plan.refusals.length > 0) return { plan, deleted: [] };
  const isOff = plan.workers.min === 0 && plan.workers.max === 0;
  if (options.apply !== true && !(options.delete === true && isOff)) return { plan, deleted: [] };
  signal.throwIfAborted();
  // The record comes first: nothing is changed that is not kept.
  const record = await keepRecord(plan, options.out, isOff);
  const scaled = isOff ? undefined : (await scaleToZero(client, plan, signal)).before;
  const deleted = options.delete === true ? await deleteAsked(client, plan, options) : [];
  return { plan, record, deleted, ...(scaled === undefined ? {} : { scaled }) };
}

/** Of an endpoint that is off already, the record of before is the one that tells what it was. */
async function keepRecord(
  { endpoint, record }: Decommission,
  folder: string,
  isOff: boolean,
): Promise<string> {
  await mkdir(folder, { recursive: true });
  const name = `runpod-${endpoint}.json`;
  const first = path.join(folder, name);
  if (isOff && existsSync(first)) return first;
  const file = freeName(folder, name);
  await writeFile(file, `${JSON.stringify(record, null, 2)}\n`, { flag: 'wx' });
  return file;
}

/** Endpoints alone: a network volume goes by hand in RunPod's console, which shows what else is on it. */
async function deleteAsked(
  client: RunPodManagement,
  { deletions }: Decommission,
  { confirm = [] }: FinishOptions,
): Promise<readonly string[]> {
  const deleted: string[] = [];
  for (const deletion of deletions.filter(({ kind }) => kind === 'endpoint')) {
    if (!confirm.includes(deletion.id) && !(await isConfirmed(deletion))) continue;
    await client.deleteEndpoint(deletion.id);
    deleted.push(deletion.id);
  }
  return deleted;
}

async function isConfirmed({ kind, id, name, loses }: Deletion): Promise<boolean> {
  if (!process.stdin.isTTY)
    throw new UsageError(
      `Without a terminal to ask on, repeat the id: --delete --confirm ${id}`,
      'not_confirmed',
    );
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question(
      `This deletes the ${kind} ${name} for good: ${loses}. Its id (${id}), to confirm; nothing to skip it: `,
    );
    return answer.trim() === id;
  } finally {
    lines.close();
  }
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
