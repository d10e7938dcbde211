/** What stands between RunPod and its end, in words. */
import type { Deletion, VolumeData } from '@ryla/migration';

import { dollars } from '../output.ts';
import type { Finished, FinishOptions } from './finish-command.ts';
import { commandOf, type DeletionOutcome, priceOf, titleOf } from './finish-deletions.ts';

/** Keys that are named; the rest is in --json. */
const NAMED = 10;

/** For machines. */
export function finishDocument({ plan, record, scaled }: Finished): Readonly<Record<string, unknown>> {
  const { record: kept, ...rest } = plan;
  return {
    ...rest,
    recordFile: record?.file ?? null,
    record: record === undefined ? kept : undefined,
    scaledToZero: scaled !== undefined,
    workersBefore: scaled ?? null,
  };
}

/** What was deleted, for machines. */
export function deletionsDocument(outcomes: readonly DeletionOutcome[]): readonly object[] {
  return outcomes.map((outcome) => ({ ...outcome }));
}

const WORDS: Readonly<Record<DeletionOutcome['outcome'], string>> = {
  deleted: 'deleted',
  was_gone: 'was gone already',
  left: 'left',
  blocked: 'not deleted',
  failed: 'not deleted, it failed',
};

/** What was deleted, for people; nothing where nothing was asked for. */
export function deletionsText(outcomes: readonly DeletionOutcome[]): readonly string[] {
  if (outcomes.length === 0) return [];
  const saved = outcomes.filter(({ outcome }) => outcome === 'deleted');
  const usd = saved.reduce((sum, { usdPerMonth }) => sum + (usdPerMonth ?? 0), 0);
  return [
    [
      ...outcomes.map(
        (each) =>
          `${titleOf(each)}: ${WORDS[each.outcome]}${each.reasons.map((reason) => `\n  - ${reason}`).join('')}`,
      ),
      ...(usd > 0 ? [`${dollars(usd)} a month less.`] : []),
    ].join('\n'),
  ];
}

/** For people. */
export function finishText(
  finished: Finished,
  options: FinishOptions,
  outcomes: readonly DeletionOutcome[],
): string {
  const { plan, record, scaled } = finished;
  const { endpoint, runpodId, stage, workers, traffic, volumes, refusals, isGone } = plan;
  return [
    isGone
      ? `${endpoint} (RunPod ${runpodId}): stage ${stage}, its endpoint on RunPod is deleted`
      : `${endpoint} (RunPod ${runpodId}): stage ${stage}, workers ${workers.min} to ${workers.max}`,
    isGone
      ? `  last ${traffic.quietHours} h: ${traffic.jobs} jobs in the store, ${traffic.unfinished} not ended`
      : `  last ${traffic.quietHours} h: ${traffic.jobs} jobs in the store, ${traffic.unfinished} not ended; RunPod's queue: ${traffic.queue.inQueue} waiting, ${traffic.queue.inProgress} running; ${billText(plan.traffic.billed)}`,
    ...volumes.flatMap(volumeLines),
    ...(refusals.length === 0
      ? ['  Nothing needs it any more.']
      : ['  It is not switched off:', ...refusals.map(({ message }) => `    - ${message}`)]),
    ...(record === undefined
      ? []
      : [`  Its configuration is kept in ${record.file}, without values of variables.`]),
    ...(scaled === undefined ? [] : [`  Workers are 0 now; they were ${scaled.min} to ${scaled.max}.`]),
    ...(refusals.length > 0 ? [] : nextLines(finished, options, outcomes)),
  ].join('\n');
}

function nextLines(
  { plan, scaled }: Finished,
  { apply }: FinishOptions,
  outcomes: readonly DeletionOutcome[],
): readonly string[] {
  const isOn = plan.workers.max > 0 && scaled === undefined;
  if (isOn && apply !== true)
    return ['  Nothing was changed. --apply keeps its configuration and scales the workers to 0.'];
  const left = plan.deletions.filter(
    ({ kind, id }) => !outcomes.some((one) => one.kind === kind && one.id === id),
  );
  if (left.length === 0) return [];
  return [
    '  For a person to delete, one by one, when the new side has served for as long as you want a way back',
    '  (--delete asks for each on a terminal):',
    ...left.flatMap((deletion) => deletionLines(plan.endpoint, deletion, scaled !== undefined)),
  ];
}

function deletionLines(endpoint: string, deletion: Deletion, isScaled: boolean): readonly string[] {
  // Its workers were taken away after it was planned.
  const blockers = deletion.kind === 'endpoint' && isScaled ? [] : deletion.blockers;
  const others = deletion.referrers.filter((referrer) => !blockers.includes(referrer));
  return [
    `    - ${titleOf(deletion)}, ${priceOf(deletion)}: ${deletion.loses}`,
    ...others.map((referrer) => `      ${referrer}`),
    ...(blockers.length === 0
      ? [`      ${commandOf(endpoint, deletion)}`]
      : blockers.map((blocker) => `      stays: ${blocker}`)),
  ];
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
