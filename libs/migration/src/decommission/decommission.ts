/** Switching off an endpoint on RunPod when nothing needs it any more. Nothing is deleted here. */
import { type Clock, type JobStore, systemClock } from '@ryla/business';
import { type RunPodEndpoint, type RunPodManagement, RunPodManagementError } from '@ryla/runpod-management';

import { backendsOf, type MigrationFile, migrationOf } from '../file/migration-file.ts';
import { MigrationError } from '../migration-error.ts';
import { earlierOf, type Stage } from '../stages/stage.ts';
import { readStage } from '../stages/stage-state.ts';
import { type AccountResources, readAccountResources } from './account-resources.ts';
import { type Deletion, deletionsOf, type Resource } from './deletion.ts';
import { type OldSide, oldSideOf } from './old-side.ts';
import { type KeptRecord, type OldSideRecord, redacted } from './old-side-record.ts';
import type { QueueHealth } from './queue-health.ts';
import type { Refusal } from './refusal.ts';
import { readTraffic, type Traffic, trafficRefusals } from './traffic.ts';
import { type VolumeCheck, type VolumeData, volumeData, volumeRefusals } from './volume-data.ts';

/** Options of {@link planDecommission}. */
export interface DecommissionOptions {
  readonly store: JobStore;
  readonly file: MigrationFile;
  readonly endpoint: string;
  /** Id of its endpoint on RunPod. */
  readonly runpodId: string;
  readonly client: RunPodManagement;
  /** Asks RunPod's job API: {@link readQueueHealth}. */
  readonly queueHealth: () => Promise<QueueHealth>;
  /** The last check or copy of a volume; undefined where there was none. */
  readonly volumeCheck: (volumeId: string) => VolumeCheck | undefined;
  /** Whether the volumes need not be compared. */
  readonly withoutVolume?: boolean;
  /** Ids of endpoints on RunPod that are switched off together: they do not need a volume any more. */
  readonly together?: readonly string[];
  /** The record of an earlier run, by which deletions go on after the endpoint is gone. */
  readonly kept?: KeptRecord | undefined;
  /** Endpoints of the workspace, the one that is switched off among them, whose endpoint.json names something on RunPod. */
  readonly namedBy?: (resource: Resource) => readonly NamingEndpoint[];
  /** Keys on a volume beside the models that may be lost. */
  readonly mayLose?: readonly string[];
  /** Hours without traffic; those of the migration file without it. */
  readonly quietHours?: number;
  readonly clock?: Pick<Clock, 'now'>;
  readonly signal?: AbortSignal;
}

/** An endpoint of the workspace. */
export interface NamingEndpoint {
  readonly endpoint: string;
  /** Its id on RunPod, where its endpoint.json gives one. */
  readonly runpodId: string | undefined;
}

/** What stands between an endpoint on RunPod and its end. */
export interface Decommission {
  readonly endpoint: string;
  readonly runpodId: string;
  /** Whether the endpoint is gone already, and only what was made for it is left. */
  readonly isGone: boolean;
  readonly stage: Stage;
  readonly workers: RunPodEndpoint['workers'];
  readonly traffic: Traffic;
  readonly volumes: readonly VolumeData[];
  /** Why it is not switched off; empty when it may be. */
  readonly refusals: readonly Refusal[];
  /** What a person may delete afterwards, in order. */
  readonly deletions: readonly Deletion[];
  /** What is to be kept; undefined where the endpoint is gone: the record of before tells more. */
  readonly record: OldSideRecord | undefined;
}

/**
 * Finds out whether an endpoint on RunPod may be switched off, and what may be deleted then. Reads RunPod and changes nothing there.
 *
 * @throws {MigrationError} `unknown_endpoint`, `old_side_unreadable`, `old_side_gone`.
 * @throws {RunPodManagementError} when the account cannot be read.
 */
export async function planDecommission(options: DecommissionOptions): Promise<Decommission> {
  const { endpoint, runpodId, client, kept } = options;
  migrationOf(options.file, endpoint);
  const account = await readAccountResources(client, callOf(options));
  const live = account.endpoints.find(({ id }) => id === runpodId);
  if (live !== undefined) {
    const named = account.templates?.filter((template) => isNamed(template, options)) ?? [];
    const old = oldSideOf(
      endpoint,
      live,
      account,
      named.map(({ id }) => id),
    );
    return await planOf({ ...options, account, old, live });
  }
  const old = kept === undefined ? undefined : rememberedSide(endpoint, runpodId, kept);
  if (old === undefined || !isThisAccount(old, account, kept)) throw gone(endpoint, runpodId);
  return await planOf({ ...options, account, old, live: undefined });
}

interface Known extends DecommissionOptions {
  readonly account: AccountResources;
  readonly old: OldSide;
  readonly live: RunPodEndpoint | undefined;
}

async function planOf(known: Known): Promise<Decommission> {
  const { store, file, endpoint, client, live, old, account, clock = systemClock } = known;
  const migration = migrationOf(file, endpoint);
  const now = clock.now();
  const state = await readStage(store, endpoint);
  const stage = earlierOf(state.stage, migration.stage);
  const hasIdleWorkers = (live?.workers.min ?? 0) > 0;
  const traffic = await readTraffic({
    ...callOf(known),
    store,
    client: live === undefined ? undefined : client,
    endpoint,
    runpodId: old.runpodId,
    backend: backendsOf(migration, endpoint).old,
    queue: live === undefined ? NO_QUEUE : await known.queueHealth(),
    hasIdleWorkers,
    quietHours: known.quietHours ?? migration.quietHours,
    now,
  });
  const volumes = volumesOf(known);
  const deletions = await deletionsNow(known, volumes, now);
  return {
    endpoint,
    runpodId: old.runpodId,
    isGone: live === undefined,
    stage,
    workers: live?.workers ?? { min: 0, max: 0 },
    traffic,
    volumes,
    refusals: [
      ...stageRefusals(endpoint, stage),
      ...trafficRefusals(traffic, { hasIdleWorkers, now }),
      ...(known.withoutVolume === true || live === undefined
        ? []
        : volumes.flatMap((volume) => volumeRefusals(volume, traffic.lastJobAt))),
    ],
    deletions,
    record:
      live === undefined
        ? undefined
        : {
            version: 1,
            recordedAt: new Date(now).toISOString(),
            endpoint,
            runpod: redacted(live),
            networkVolumes: account.networkVolumes.filter(({ id }) => old.volumeIds.includes(id)),
            templates: (account.templates ?? [])
              .filter(({ id }) => old.templateIds.includes(id))
              .map(redacted),
            releases: (await client.listReleases(old.runpodId, callOf(known))).releases,
            stage: state,
            traffic,
            volumes,
            deletions: [],
          },
  };
}

function volumesOf({ account, old, live, together = [], volumeCheck }: Known): readonly VolumeData[] {
  const ids = new Set(account.networkVolumes.map(({ id }) => id));
  const staying = account.endpoints.filter(({ id }) => id !== old.runpodId && !together.includes(id));
  const there = old.volumeIds.filter((id) => live !== undefined || ids.has(id));
  return there.map((id) =>
    volumeData(
      id,
      volumeCheck(id),
      staying.filter(({ networkVolumes }) => networkVolumes.includes(id)).map(({ name }) => name),
    ),
  );
}

async function deletionsNow(
  known: Known,
  volumes: readonly VolumeData[],
  now: number,
): Promise<readonly Deletion[]> {
  const { account, old, together = [], namedBy = () => [], mayLose = [] } = known;
  const lastJobs = new Map<string, number | null>();
  for (const { volumeId } of volumes) lastJobs.set(volumeId, await lastJobOn(volumeId, known));
  const isLive = (id: string | undefined): boolean =>
    id === undefined || account.endpoints.some((one) => one.id === id);
  return deletionsOf(old, account, {
    going: together,
    volumes,
    lastJobAt: (id) => lastJobs.get(id) ?? null,
    namedBy: (resource) =>
      namedBy(resource)
        .filter(
          ({ endpoint, runpodId }) =>
            endpoint !== old.endpoint && isLive(runpodId) && !together.includes(runpodId ?? ''),
        )
        .map(({ endpoint }) => endpoint),
    mayLose,
    now,
  });
}

/** When any endpoint of the migration that names a volume last had a job on its old side; null for never. */
async function lastJobOn(
  volumeId: string,
  { store, file, endpoint, namedBy = () => [] }: Known,
): Promise<number | null> {
  const names = namedBy({ kind: 'network volume', id: volumeId, name: '' }).map((one) => one.endpoint);
  const times: number[] = [];
  for (const name of new Set([endpoint, ...names])) {
    const migration = Object.hasOwn(file.endpoints, name) ? file.endpoints[name] : undefined;
    if (migration === undefined) continue;
    const filter = { endpoint: name, backend: backendsOf(migration, name).old };
    const [last] = (await store.list(filter, { limit: 1 })).jobs;
    if (last !== undefined) times.push(last.createdAt);
  }
  return times.length === 0 ? null : Math.max(...times);
}

function isNamed(
  template: { readonly id: string; readonly name: string },
  { endpoint, namedBy = () => [] }: DecommissionOptions,
): boolean {
  return namedBy({ kind: 'template', ...template }).some((one) => one.endpoint === endpoint);
}

function rememberedSide(endpoint: string, runpodId: string, kept: KeptRecord): OldSide | undefined {
  if (kept.endpoint !== endpoint || kept.runpod.id !== runpodId) return undefined;
  return {
    endpoint,
    runpodId,
    name: kept.runpod.name,
    templateIds: kept.templates.map(({ id }) => id),
    volumeIds: kept.runpod.networkVolumes,
  };
}

/** An endpoint may be missing because the key is of another account: then nothing of it is there, and nobody has deleted it. */
function isThisAccount(old: OldSide, account: AccountResources, kept: KeptRecord | undefined): boolean {
  const wasSent = kept?.deletions.some(({ id }) => id === old.runpodId) === true;
  const left = [...account.networkVolumes, ...(account.templates ?? [])];
  return wasSent || left.some(({ id }) => [...old.volumeIds, ...old.templateIds].includes(id));
}

const NO_QUEUE: QueueHealth = { inQueue: 0, inProgress: 0, ended: undefined, workers: 0 };

function callOf({ signal }: Pick<DecommissionOptions, 'signal'>): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

/**
 * Scales an endpoint on RunPod to no workers: it costs nothing and takes no job, and keeps its id and its settings.
 *
 * @returns the workers before and after.
 * @throws {MigrationError} `old_side_gone`, or `old_side_unreadable` where RunPod kept other numbers.
 * @throws {RunPodManagementError} when RunPod refuses.
 */
export async function scaleToZero(
  client: RunPodManagement,
  { endpoint, runpodId }: Pick<Decommission, 'endpoint' | 'runpodId'>,
  signal?: AbortSignal,
): Promise<{ readonly before: RunPodEndpoint['workers']; readonly after: RunPodEndpoint['workers'] }> {
  const call = signal === undefined ? {} : { signal };
  try {
    const { workers: before } = await client.getEndpoint(runpodId, call);
    if (before.min === 0 && before.max === 0) return { before, after: before };
    await client.updateEndpoint(runpodId, { workers: { ...kept(before), min: 0, max: 0 } }, call);
    const { workers: after } = await client.getEndpoint(runpodId, call);
    if (after.min === 0 && after.max === 0) return { before, after };
    throw new MigrationError(
      'old_side_unreadable',
      `RunPod took the change of ${runpodId} and has ${after.min} to ${after.max} workers still.`,
      { endpoint, hint: 'Look at the endpoint in RunPod’s console.' },
    );
  } catch (error) {
    if (RunPodManagementError.isInstance(error) && error.code === 'not_found') throw gone(endpoint, runpodId);
    throw error;
  }
}

/** A PATCH replaces `workers` as a whole. */
function kept({ idleTimeout }: RunPodEndpoint['workers']): { readonly idleTimeout?: number } {
  return idleTimeout === undefined ? {} : { idleTimeout };
}

function stageRefusals(endpoint: string, stage: Stage): readonly Refusal[] {
  if (stage === 'complete') return [];
  return [
    {
      code: 'stage',
      message: `${endpoint} is at ${stage}; it must be at complete. \`ryla migrate advance ${endpoint}\` says what is missing.`,
    },
  ];
}

function gone(endpoint: string, runpodId: string): MigrationError {
  return new MigrationError('old_side_gone', `There is no endpoint ${runpodId} in this RunPod account.`, {
    endpoint,
    hint: 'It was deleted, or providers.runpod.endpointId in its endpoint.json is of another account.',
  });
}
