import type { ChangeEffect, FieldChange } from './endpoint-diff.ts';
import type { PlanEntry, RunPodPlan } from './plan.ts';

const EFFECTS: Readonly<Record<ChangeEffect, string>> = {
  'workers-replaced': 'workers are replaced',
  'new-workers': 'for new workers',
  'at-once': 'at once',
};
const SIGNS = { create: '+', update: '~', none: '=', delete: '-' } as const;
const CAUSES = {
  changed: 'the repository has changed',
  drift: 'somebody has changed RunPod by hand',
  adopted: 'made by hand, becomes managed: its other settings and variables are overwritten',
} as const;

/** A plan in words, for a terminal or a pull request: which field, from what, to what, and what that does to workers. */
export function describeRunpodPlan(plan: RunPodPlan): string {
  if (plan.entries.length === 0) return 'RunPod: nothing to do.';
  return [`RunPod: ${summary(plan)}`, ...plan.entries.flatMap((entry) => ['', ...describe(entry)])].join(
    '\n',
  );
}

function summary({ entries }: RunPodPlan): string {
  const words = { create: 'to make', update: 'to change', delete: 'to delete', none: 'unchanged' } as const;
  return (['create', 'update', 'delete', 'none'] as const)
    .map((action) => [entries.filter((entry) => entry.action === action).length, words[action]] as const)
    .filter(([count]) => count > 0)
    .map(([count, word]) => `${count} ${word}`)
    .join(', ');
}

function describe(entry: PlanEntry): readonly string[] {
  const head = `${SIGNS[entry.action]} ${entry.endpoint}`;
  const where = entry.action === 'create' ? entry.name : `${entry.name}, ${entry.id}`;
  switch (entry.action) {
    case 'delete':
      return [`${head} (${where}): deleted with its workers and its jobs. This cannot be undone.`];
    case 'none':
      return [`${head} (${where}): unchanged`];
    case 'create':
      return [`${head} (${where}): new endpoint`, ...newFields(entry.changes), ...notes(entry.notes)];
    case 'update':
      return [
        `${head} (${where}): ${CAUSES[entry.because]}`,
        ...changedFields(entry.changes),
        ...notes(entry.notes),
        ...(entry.changes.some(({ effect }) => effect === 'workers-replaced')
          ? ['    Workers that run keep the former release until RunPod replaces them.']
          : []),
      ];
  }
}

function newFields(changes: readonly FieldChange[]): readonly string[] {
  const width = Math.max(...changes.map(({ field }) => field.length));
  return changes.map(({ field, to }) => `    ${field.padEnd(width)}  ${short(to)}`);
}

function changedFields(changes: readonly FieldChange[]): readonly string[] {
  const width = Math.max(...changes.map(({ field }) => field.length));
  return changes.map(
    ({ field, from, to, effect }) => `    ${field.padEnd(width)}  ${arrow(from, to)}  [${EFFECTS[effect]}]`,
  );
}

function arrow(from: string, to: string): string {
  return from === to ? 'another value (hidden)' : `${short(from)} → ${short(to)}`;
}

/** Twelve digits tell two images apart; the plan itself holds all of them. */
function short(value: string): string {
  return value.replace(/(@sha256:[0-9a-f]{12})[0-9a-f]{52}$/, '$1…');
}

function notes(lines: readonly string[]): readonly string[] {
  return lines.map((line) => `    Note: ${line}.`);
}
