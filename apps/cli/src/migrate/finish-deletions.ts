/** Deleting what is left on RunPod, one by one, each confirmed by its name. */
import {
  type Decommission,
  type Deletion,
  type DeletionNote,
  deleteResource,
  type Resource,
} from '@ryla/migration';
import type { RunPodManagement } from '@ryla/runpod-management';

import { UsageError } from '../exit-codes.ts';
import { dollars, errorDocument } from '../output.ts';
import { noteDeletion, type StoredRecord } from './finish-record.ts';
import type { Person } from './person.ts';

/** What is to be deleted, and who says so. */
export interface DeletionWishes {
  /** Whether everything that may be deleted is asked for. */
  readonly all: boolean;
  /** Ids by kind. */
  readonly ids: Readonly<Record<Resource['kind'], readonly string[]>>;
  /** Names that confirm in place of a person. */
  readonly confirmed: readonly string[];
  readonly person: Person | undefined;
  readonly by: string;
}

/** An endpoint that is switched off, its record, and a way to look again. */
export interface SwitchedOff {
  readonly plan: Decommission;
  readonly record: StoredRecord | undefined;
  /** Plans anew, now that others may be gone. */
  readonly again: () => Promise<Decommission>;
}

/** What became of one thing. */
export interface DeletionOutcome extends Resource {
  readonly usdPerMonth: number | null;
  /** `left`: nobody confirmed it, or it was not tried any more. */
  readonly outcome: 'deleted' | 'was_gone' | 'left' | 'blocked' | 'failed';
  readonly reasons: readonly string[];
}

const ORDER = ['endpoint', 'template', 'network volume'] as const satisfies readonly Resource['kind'][];

const OPTIONS = {
  endpoint: '--delete-endpoint',
  template: '--delete-template',
  'network volume': '--delete-volume',
} as const satisfies Record<Resource['kind'], string>;

/** The command line that deletes something where there is no terminal. */
export function commandOf(endpoint: string, { kind, id, name }: Resource): string {
  const quoted = /^[\w.-]+$/.test(name) ? name : `'${name.replaceAll("'", String.raw`'\''`)}'`;
  return `ryla migrate finish ${endpoint} ${OPTIONS[kind]} ${id} --confirm ${quoted}`;
}

/** What a run sent before it was killed is gone by now, or is still there and asked for again. */
async function completeNotes(done: readonly SwitchedOff[]): Promise<void> {
  for (const { plan, record } of done) {
    if (record === undefined) continue;
    const open = record.content.deletions.filter(({ outcome }) => outcome === undefined);
    for (const note of open) {
      if (plan.deletions.some(({ kind, id }) => kind === note.kind && id === note.id)) continue;
      await noteDeletion(record, { ...note, endedAt: new Date().toISOString(), outcome: 'deleted' });
    }
  }
}

interface Chosen {
  readonly deletion: Deletion;
  /** Everyone whose record tells of it; the first one plans it. */
  readonly owners: readonly SwitchedOff[];
}

/**
 * Deletes what was asked for and confirmed, in the order endpoints, templates, volumes; looks again before each. Stops at the first
 * that fails, or when it is interrupted; what was done until then is told.
 *
 * @throws {UsageError} before anything is deleted: `usage` for an id or a name that nothing has, `not_confirmed` where there is nobody
 *   to ask.
 */
export async function deleteWished(
  done: readonly SwitchedOff[],
  wishes: DeletionWishes,
  client: RunPodManagement,
  signal: AbortSignal,
): Promise<readonly DeletionOutcome[]> {
  const chosen = chosenOf(done, wishes);
  refuseUnconfirmed(chosen, wishes);
  await completeNotes(done);
  const outcomes: DeletionOutcome[] = [];
  for (const one of chosen) {
    const hasFailed = outcomes.some(({ outcome }) => outcome === 'failed');
    outcomes.push(
      hasFailed || signal.aborted
        ? outcomeOf(one.deletion, 'left', ['not tried any more'])
        : await deleteOne(one, wishes, client, signal).catch((error: unknown) => {
            if (!signal.aborted) throw error;
            return outcomeOf(one.deletion, 'left', ['interrupted']);
          }),
    );
  }
  return outcomes;
}

function chosenOf(done: readonly SwitchedOff[], { all, ids, confirmed }: DeletionWishes): readonly Chosen[] {
  const found = new Map<string, Chosen>();
  for (const one of done)
    for (const deletion of one.plan.deletions) {
      const key = `${deletion.kind}/${deletion.id}`;
      const known = found.get(key);
      found.set(key, { deletion: known?.deletion ?? deletion, owners: [...(known?.owners ?? []), one] });
    }
  const there = [...found.values()].sort((a, b) => orderOf(a.deletion) - orderOf(b.deletion));
  // What an earlier run deleted may be asked for again.
  const before = done.flatMap(({ record }) => record?.content.deletions ?? []);
  refuseUnknown(there, before, ids);
  const chosen = there.filter(
    ({ deletion, owners }) =>
      ids[deletion.kind].includes(deletion.id) ||
      (all && owners.every(({ plan }) => plan.refusals.length === 0)),
  );
  const names = [...chosen.map(({ deletion }) => deletion), ...before].map(({ name }) => name);
  const stranger = confirmed.find((name) => !names.includes(name));
  if (stranger !== undefined)
    throw new UsageError(
      `--confirm ${stranger}: nothing that is to be deleted has this name. There is: ${chosen.map(({ deletion }) => titleOf(deletion)).join(', ') || 'nothing'}.`,
    );
  return chosen;
}

function refuseUnknown(
  there: readonly Chosen[],
  before: readonly Resource[],
  ids: DeletionWishes['ids'],
): void {
  const known = [...there.map(({ deletion }) => deletion), ...before];
  for (const kind of ORDER)
    for (const id of ids[kind]) {
      if (known.some((one) => one.kind === kind && one.id === id)) continue;
      throw new UsageError(
        `${OPTIONS[kind]} ${id}: there is no such ${kind} here. There is: ${there.map(({ deletion }) => titleOf(deletion)).join(', ') || 'nothing'}.`,
      );
    }
}

/** Without a terminal, each one must be named twice: which by its id, and that it is meant by its name. */
function refuseUnconfirmed(chosen: readonly Chosen[], { ids, confirmed, person }: DeletionWishes): void {
  if (person !== undefined) return;
  const open = chosen.filter(
    ({ deletion: { kind, id, name } }) => !(ids[kind].includes(id) && confirmed.includes(name)),
  );
  if (open.length === 0) return;
  const lines = open.map(
    ({ deletion, owners }) => `  ${commandOf(owners[0]?.plan.endpoint ?? '', deletion)}`,
  );
  throw new UsageError(
    `Nothing was deleted: without a terminal to ask on, each deletion takes its id and its name:\n${lines.join('\n')}`,
    'not_confirmed',
  );
}

async function deleteOne(
  { deletion, owners }: Chosen,
  wishes: DeletionWishes,
  client: RunPodManagement,
  signal: AbortSignal,
): Promise<DeletionOutcome> {
  const look = (): Promise<Deletion | DeletionOutcome> => lookAgain(deletion, owners);
  const now = await look();
  if ('outcome' in now) return now;
  const { kind, id, name } = now;
  if (!(wishes.ids[kind].includes(id) && wishes.confirmed.includes(name))) {
    const answer = await wishes.person?.(questionOf(now), signal);
    if (answer?.trim() !== name) return outcomeOf(now, 'left', ['not confirmed']);
    // Whoever thinks about it for an hour decides on what is so then.
    const later = await look();
    if ('outcome' in later) return later;
  }
  return await sendDeletion(now, owners, wishes.by, client, signal);
}

async function lookAgain(
  deletion: Deletion,
  owners: readonly SwitchedOff[],
): Promise<Deletion | DeletionOutcome> {
  for (const { again } of owners) {
    const { refusals, deletions } = await again();
    if (refusals.length > 0)
      return outcomeOf(
        deletion,
        'blocked',
        refusals.map(({ message }) => message),
      );
    const now = deletions.find(({ kind, id }) => kind === deletion.kind && id === deletion.id);
    if (now === undefined) return outcomeOf(deletion, 'was_gone', []);
    if (now.blockers.length > 0) return outcomeOf(now, 'blocked', now.blockers);
  }
  return deletion;
}

/** The record says that it is sent before it is, and afterwards what came of it. */
async function sendDeletion(
  deletion: Deletion,
  owners: readonly SwitchedOff[],
  by: string,
  client: RunPodManagement,
  signal: AbortSignal,
): Promise<DeletionOutcome> {
  const { kind, id, name } = deletion;
  const sent: DeletionNote = { kind, id, name, by, sentAt: new Date().toISOString() };
  const note = async (more: Partial<DeletionNote> = {}): Promise<void> => {
    for (const { record } of owners)
      if (record !== undefined) await noteDeletion(record, { ...sent, ...more });
  };
  await note();
  try {
    const outcome = await deleteResource(client, deletion, { signal });
    await note({ endedAt: new Date().toISOString(), outcome });
    return outcomeOf(deletion, outcome, []);
  } catch (error) {
    signal.throwIfAborted();
    const { code, message } = errorDocument(error);
    const text = `${code}: ${message}`;
    await note({ endedAt: new Date().toISOString(), outcome: 'failed', error: text });
    return outcomeOf(deletion, 'failed', [text]);
  }
}

function questionOf(deletion: Deletion): string {
  const { name, loses, referrers } = deletion;
  return [
    '',
    titleOf(deletion),
    `  goes for good: ${loses}`,
    `  ${priceOf(deletion)}`,
    ...(referrers.length === 0 ? [] : [`  referred to: ${referrers.join('; ')}`]),
    `Its name (${name}) deletes it, anything else leaves it: `,
  ].join('\n');
}

/** What something is. */
export function titleOf({ kind, name, id }: Resource): string {
  return `${kind} ${name} (${id})`;
}

/** What something costs now. */
export function priceOf({ kind, usdPerMonth }: Pick<Deletion, 'kind' | 'usdPerMonth'>): string {
  if (usdPerMonth === null) return 'costs an amount that is not known';
  if (usdPerMonth > 0) return `costs ${dollars(usdPerMonth)} a month`;
  return kind === 'endpoint' ? 'costs nothing without workers' : 'costs nothing';
}

function outcomeOf(
  { kind, id, name, usdPerMonth }: Deletion,
  outcome: DeletionOutcome['outcome'],
  reasons: readonly string[],
): DeletionOutcome {
  return { kind, id, name, usdPerMonth, outcome, reasons };
}

function orderOf({ kind }: Deletion): number {
  return ORDER.indexOf(kind);
}
