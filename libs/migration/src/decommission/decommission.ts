/** Switching off an endpoint on RunPod when nothing needs it any more. Nothing is deleted here. */
import { type Clock, type JobStore, systemClock } from '@ryla/business';
import {
  readRunpodEndpoints,
  type RunPodEndpoint,
  type RunPodManagement,
  RunPodManagementError,
} from '@ryla/runpod-management';

import { backendsOf, type MigrationFile, migrationOf } from '../file/migration-file.ts';
import { MigrationError } from '../migration-error.ts';
import { earlierOf, type Stage } from '../stages/stage.ts';
import { readStage } from '../stages/stage-state.ts';
import { type OldSideRecord, redacted } from './old-side-record.ts';
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
  /** Hours without traffic; those of the migration file without it. */
  readonly quietHours?: number;
  readonly clock?: Pick<Clock, 'now'>;
  readonly signal?: AbortSignal;
}

/** Something that only a person deletes. */
export interface Deletion {
  readonly kind: 'endpoint' | 'network volume';
  readonly id: string;
  readonly name: string;
  /** What goes with it. */
  readonly loses: string;
}

/** What stands between an endpoint on RunPod and its end. */
export interface Decommission {
  readonly endpoint: string;
  readonly runpodId: string;
  readonly stage: Stage;
  readonly workers: RunPodEndpoint['workers'];
  readonly traffic: Traffic;
  readonly volumes: readonly VolumeData[];
  /** Why it is not switched off; empty when it may be. */
  readonly refusals: readonly Refusal[];
  /** What a person may delete afterwards, in order. */
  readonly deletions: readonly Deletion[];
  readonly record: OldSideRecord;
}

/**
 * Finds out whether an endpoint on RunPod may be switched off. Reads RunPod and changes nothing there.
 *
 * @throws {MigrationError} `unknown_endpoint`, `old_side_unreadable`, `old_side_gone`.
 * @throws {RunPodManagementError} when the account cannot be read.
 */
export async function planDecommission(options: DecommissionOptions): Promise<Decommission> {
  const { store, file, endpoint, runpodId, client, clock = systemClock, signal } = options;
  const migration = migrationOf(file, endpoint);
  const now = clock.now();
  const call = signal === undefined ? {} : { signal };
  const state = await readStage(store, endpoint);
  const stage = earlierOf(state.stage, migration.stage);
  const everything = await readRunpodEndpoints(client, call);
  const live = everything.find(({ id }) => id === runpodId);
  if (live === undefined) throw gone(endpoint, runpodId);
  const hasIdleWorkers = live.workers.min > 0;
  const quietHours = options.quietHours ?? migration.quietHours;
  const traffic = await readTraffic({
    ...call,
    store,
    client,
    endpoint,
    runpodId,
    backend: backendsOf(migration, endpoint).old,
    queue: await options.queueHealth(),
    hasIdleWorkers,
    quietHours,
    now,
  });
  const staying = everything.filter(({ id }) => id !== runpodId && options.together?.includes(id) !== true);
  const volumes = live.networkVolumes.map((id) =>
    volumeData(
      id,
      options.volumeCheck(id),
      staying.filter(({ networkVolumes }) => networkVolumes.includes(id)).map(({ name }) => name),
    ),
  );
  const known = live.networkVolumes.length === 0 ? [] : await client.listNetworkVolumes(call);
  const networkVolumes = known.filter(({ id }) => live.networkVolumes.includes(id));
  const { releases } = await client.listReleases(runpodId, call);
  return {
    endpoint,
    runpodId,
    stage,
    workers: live.workers,
    traffic,
    volumes,
    refusals: [
      ...stageRefusals(endpoint, stage),
      ...trafficRefusals(traffic, { hasIdleWorkers, now }),
      ...(options.withoutVolume === true
        ? []
        : volumes.flatMap((volume) => volumeRefusals(volume, traffic.lastJobAt))),
    ],
    deletions: deletionsOf(live, volumes, networkVolumes),
    record: {
      version: 1,
      recordedAt: new Date(now).toISOString(),
      endpoint,
      runpod: redacted(live),
      networkVolumes,
      releases,
      stage: state,
      traffic,
      volumes,
    },
  };
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

function deletionsOf(
  live: RunPodEndpoint,
  volumes: readonly VolumeData[],
  known: readonly { readonly id: string; readonly name: string }[],
): readonly Deletion[] {
  const free = volumes.filter(({ usedBy }) => usedBy.length === 0);
  return [
    {
      kind: 'endpoint',
      id: live.id,
      name: live.name,
      loses: 'its id and URL, its settings (the record keeps them), its releases',
    },
    ...free.map(({ volumeId, files, bytes, beside }): Deletion => {
      const besideText = beside.length === 0 ? '' : `, and ${beside.join(', ')} beside them`;
      return {
        kind: 'network volume',
        id: volumeId,
        name: known.find(({ id }) => id === volumeId)?.name ?? volumeId,
        loses: `${files} files of models (${(bytes / 1e9).toFixed(2)} GB)${besideText}`,
      };
    }),
  ];
}

function gone(endpoint: string, runpodId: string): MigrationError {
  return new MigrationError('old_side_gone', `There is no endpoint ${runpodId} in this RunPod account.`, {
    endpoint,
    hint: 'It was deleted, or providers.runpod.endpointId in its endpoint.json is of another account.',
  });
}
