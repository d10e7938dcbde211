import { type ApiNode, type ApiWorkflow, isLink } from './api-workflow.ts';
import { canonicalWorkflow } from './canonical-workflow.ts';
import type { Json } from './json-value.ts';

/** One difference between two workflows. */
export interface WorkflowChange {
  readonly kind:
    | 'node_added'
    | 'node_removed'
    | 'node_renumbered'
    | 'class_changed'
    | 'title_changed'
    | 'input_added'
    | 'input_removed'
    | 'input_changed';
  /** Id of the node in the later workflow; in the earlier one for a removed node. */
  readonly nodeId: string;
  readonly input: string | undefined;
  /** The change in words, without a full stop. */
  readonly text: string;
}

/** Longest value that a sentence repeats. */
const LONGEST_SHOWN = 80;

/**
 * What changed from one workflow to another, in words: first nodes that came, went or got another id, then what
 * changed in the others. Nodes are the same if they have the same id; a node whose id is gone is taken for the one new
 * node of its class and title, where there is only one.
 */
export function diffWorkflows(earlier: ApiWorkflow, later: ApiWorkflow): WorkflowChange[] {
  const before = canonicalWorkflow(earlier);
  const after = canonicalWorkflow(later);
  const renumbered = findRenumbered(before, after);
  const isNew = new Set(renumbered.values());
  const changes: WorkflowChange[] = [];
  for (const [id, node] of Object.entries(after)) {
    if (!Object.hasOwn(before, id) && !isNew.has(id))
      changes.push(change('node_added', id, undefined, `${named(id, node)} was added`));
  }
  for (const [id, node] of Object.entries(before)) {
    const now = renumbered.get(id);
    if (now !== undefined) {
      changes.push(change('node_renumbered', now, undefined, `${named(id, node)} is now node ${now}`));
    } else if (!Object.hasOwn(after, id)) {
      changes.push(change('node_removed', id, undefined, `${named(id, node)} was removed`));
    }
  }
  for (const [id, node] of Object.entries(before)) {
    const now = renumbered.get(id) ?? id;
    const counterpart = Object.hasOwn(after, now) ? after[now] : undefined;
    if (counterpart !== undefined)
      changes.push(...nodeChanges(now, node, counterpart, renumbered, before, after));
  }
  return changes;
}

/** Earlier ids of nodes that have another id now. */
function findRenumbered(before: ApiWorkflow, after: ApiWorkflow): ReadonlyMap<string, string> {
  const gone = byLook(before, after);
  const come = byLook(after, before);
  const renumbered = new Map<string, string>();
  for (const [look, ids] of gone) {
    const candidates = come.get(look) ?? [];
    const [old] = ids;
    const [now] = candidates;
    if (ids.length === 1 && candidates.length === 1 && old !== undefined && now !== undefined)
      renumbered.set(old, now);
  }
  return renumbered;
}

/** The nodes of one workflow whose ids the other lacks, by class and title. */
function byLook(workflow: ApiWorkflow, other: ApiWorkflow): Map<string, string[]> {
  const looks = new Map<string, string[]>();
  for (const [id, node] of Object.entries(workflow)) {
    if (Object.hasOwn(other, id)) continue;
    const look = `${node.class_type}\n${node._meta?.title ?? ''}`;
    const ids = looks.get(look);
    if (ids === undefined) looks.set(look, [id]);
    else ids.push(id);
  }
  return looks;
}

function nodeChanges(
  id: string,
  before: ApiNode,
  after: ApiNode,
  renumbered: ReadonlyMap<string, string>,
  earlier: ApiWorkflow,
  later: ApiWorkflow,
): WorkflowChange[] {
  const changes: WorkflowChange[] = [];
  const name = named(id, after);
  if (before.class_type !== after.class_type) {
    const text = `${named(id, before)} was replaced by ${name}`;
    changes.push(change('class_changed', id, undefined, text));
  } else if ((before._meta?.title ?? '') !== (after._meta?.title ?? '')) {
    changes.push(change('title_changed', id, undefined, `${named(id, before)} is now called ${name}`));
  }
  for (const input of new Set([...Object.keys(before.inputs), ...Object.keys(after.inputs)])) {
    const was = Object.hasOwn(before.inputs, input) ? before.inputs[input] : undefined;
    const is = Object.hasOwn(after.inputs, input) ? after.inputs[input] : undefined;
    if (was === undefined && is !== undefined) {
      changes.push(change('input_added', id, input, `${name}: ${input} is now ${value(is, later)}`));
    } else if (was !== undefined && is === undefined) {
      changes.push(
        change('input_removed', id, input, `${name}: ${input} is gone; it was ${value(was, earlier)}`),
      );
    } else if (was !== undefined && is !== undefined && !isSame(was, is, renumbered)) {
      const text = `${name}: ${input} changed from ${value(was, earlier)} to ${value(is, later)}`;
      changes.push(change('input_changed', id, input, text));
    }
  }
  return changes;
}

function isSame(was: Json, is: Json, renumbered: ReadonlyMap<string, string>): boolean {
  if (isLink(was) && isLink(is)) {
    const [source, output] = was;
    return (renumbered.get(source) ?? source) === is[0] && output === is[1];
  }
  return JSON.stringify(was) === JSON.stringify(is);
}

function named(id: string, node: ApiNode): string {
  const title = node._meta?.title;
  const isTitled = title !== undefined && title !== '' && title !== node.class_type;
  return isTitled ? `"${title}" (node ${id}, ${node.class_type})` : `${node.class_type} (node ${id})`;
}

function value(of: Json, workflow: ApiWorkflow): string {
  if (isLink(of)) {
    const [source, output] = of;
    const node = Object.hasOwn(workflow, source) ? workflow[source] : undefined;
    return `output ${output} of ${node === undefined ? `node ${source}` : named(source, node)}`;
  }
  const text = JSON.stringify(of);
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN - 1)}…` : text;
}

function change(
  kind: WorkflowChange['kind'],
  nodeId: string,
  input: string | undefined,
  text: string,
): WorkflowChange {
  return { kind, nodeId, input, text };
}
