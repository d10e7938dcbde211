/** What stands between RunPod and its end, in words. */
import type { Deletion, VolumeData } from '@ryla/migration';

import type { Finished, FinishOptions } from './finish-command.ts';

/** Keys that are named; the rest is in --json. */
const NAMED = 10;

/** For machines. */
export function finishDocument({
  plan,
  record,
  scaled,
  deleted,
}: Finished): Readonly<Record<string, unknown>> {
  const { record: kept, ...rest } = plan;
  return {
    ...rest,
    recordFile: record ?? null,
    record: record === undefined ? kept : undefined,
    scaledToZero: scaled !== undefined,
    workersBefore: scaled ?? null,
    deleted,
  };
}

/** For people. */
export function finishText(finished: Finished, options: FinishOptions): string {
  const { plan, record, scaled, deleted } = finished;
  const { endpoint, runpodId, stage, workers, traffic, volumes, refusals, deletions } = plan;
  const left = deletions.filter(({ id }) => !deleted.includes(id));
  return [
    `${endpoint} (RunPod ${runpodId}): stage ${stage}, workers ${workers.min} to ${workers.max}`,
    `  last ${traffic.quietHours} h: ${traffic.jobs} jobs in the store, ${traffic.unfinished} not ended; RunPod's queue: ${traffic.queue.inQueue} waiting, ${traffic.queue.inProgress} running; ${billText(plan.traffic.billed)}`,
    ...volumes.flatMap(volumeLines),
    ...(refusals.length === 0
      ? ['  Nothing needs it any more.']
      : ['  It is not switched off:', ...refusals.map(({ message }) => `    - ${message}`)]),
    ...(record === undefined
      ? []
      : [`  Its configuration is kept in ${record}, without values of variables.`]),
    ...(scaled === undefined ? [] : [`  Workers are 0 now; they were ${scaled.min} to ${scaled.max}.`]),
    ...deleted.map((id) => `  Deleted: ${id}.`),
    ...(refusals.length > 0 ? [] : nextLines(finished, left, options)),
  ].join('\n');
}

function nextLines(
  { plan, scaled }: Finished,
  left: readonly Deletion[],
  { apply }: FinishOptions,
): readonly string[] {
  const isOn = plan.workers.max > 0 && scaled === undefined;
  if (isOn && apply !== true)
    return ['  Nothing was changed. --apply keeps its configuration and scales the workers to 0.'];
  if (left.length === 0) return [];
  return [
    '  For a person to delete, one by one, when the new side has served for as long as you want a way back:',
    ...left.map(
      ({ kind, id, name, loses }) =>
        `    - ${kind} ${name} (${id}): ${loses}${wayOf(kind, plan.endpoint, id)}`,
    ),
  ];
}

function wayOf(kind: Deletion['kind'], endpoint: string, id: string): string {
  return kind === 'endpoint'
    ? `\n      ryla migrate finish ${endpoint} --delete    (or --confirm ${id} without a terminal)`
    : "\n      in RunPod's console, below Storage";
}

function volumeLines(volume: VolumeData): readonly string[] {
  const { volumeId, checkedAt, files, bytes, notVerified, unreferenced, beside, leftOut, usedBy } = volume;
  if (checkedAt === null) return [`  network volume ${volumeId}: not compared`];
  return [
    `  network volume ${volumeId}, compared ${checkedAt}: ${files} files, ${size(bytes)}, ${notVerified.length} not verified, ${leftOut} not asked for`,
    ...listed(
      'no endpoint uses',
      unreferenced.map(({ key, bytes: count }) => `${key} (${size(count)})`),
    ),
    ...listed('beside the models, not looked into', beside),
    ...(usedBy.length === 0 ? [] : [`    stays: ${usedBy.join(', ')} on RunPod mount it`]),
  ];
}

function listed(title: string, keys: readonly string[]): readonly string[] {
  if (keys.length === 0) return [];
  const more = keys.length > NAMED ? `, and ${keys.length - NAMED} more (--json)` : '';
  return [`    ${title}: ${keys.slice(0, NAMED).join(', ')}${more}`];
}

function size(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

function billText(billed: { readonly usd: number; readonly hours: number } | null): string {
  return billed === null ? 'its bill cannot be read' : `billed $${billed.usd.toFixed(4)}`;
}
