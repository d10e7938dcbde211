import { WorkflowError } from '../workflow-error.ts';
import { camelCase } from './input-name.ts';
import type { Candidate } from './input-kind.ts';
import type { WorkflowView } from './workflow-view.ts';

/** A value that a marker names. */
export interface MarkedPlace extends Candidate {
  readonly required: boolean;
}

/** What the titles of a workflow's nodes say about its interface. */
export interface Markers {
  /** One input each: the places that have its name and get its value together. */
  readonly inputs: readonly (readonly MarkedPlace[])[];
  /** Name of an output by node. */
  readonly outputs: ReadonlyMap<string, string>;
  /** Nodes that take part in no inference: those with markers, and those told to be left alone. */
  readonly closed: ReadonlySet<string>;
}

const MARKER = /(?:^|\s)@(input|output|ignore)\b(?:[ \t]+([A-Za-z][\w-]*))?(?:=([\w.]+))?(!)?/g;

/** Fields that a marker without `=field` means, the first that the node has. */
const PRINCIPAL_FIELDS = [
  'value',
  'text',
  'prompt',
  'image',
  'file',
  'video',
  'audio',
  'noise_seed',
  'seed',
  'string',
  'strength',
];

/**
 * Reads the markers in titles: `@input name`, `@input name=field`, `@input name!` (a caller must give it),
 * `@output name`, `@ignore`. Whatever else a title says is ignored.
 *
 * Places of one name and one value are one input.
 *
 * @throws {WorkflowError} `invalid_marker` for a marker without a name, or with a field that the node has not, and where
 * one name is given to places whose values differ, or to two outputs.
 */
export function readMarkers(view: WorkflowView): Markers {
  const inputs: MarkedPlace[] = [];
  const outputs = new Map<string, string>();
  const closed = new Set<string>();
  for (const id of Object.keys(view.workflow)) {
    const title = view.node(id)._meta?.title ?? '';
    if (!title.includes('@')) continue;
    for (const [marker, word, givenName, field, isRequired] of title.matchAll(MARKER)) {
      if (word === 'ignore') {
        closed.add(id);
        continue;
      }
      const name = camelCase(givenName ?? '');
      if (name === '') {
        throw new WorkflowError(
          'invalid_marker',
          `Node ${id} (${view.classOf(id)}): "${marker.trim()}" names nothing. Write @${word ?? ''} and a name.`,
          { nodeId: id },
        );
      }
      closed.add(id);
      if (word === 'output') addOutput(view, outputs, id, name);
      else {
        const why = `The title of node ${id} says "${marker.trim()}".`;
        const place = { node: id, field: markedField(view, id, field) };
        inputs.push({ kind: 'marked', ...place, name, why, required: isRequired !== undefined });
      }
    }
  }
  return { inputs: byName(view, inputs), outputs, closed };
}

function addOutput(view: WorkflowView, outputs: Map<string, string>, id: string, name: string): void {
  const [other] = [...outputs].find(([node, given]) => node !== id && given === name) ?? [];
  if (other !== undefined) {
    throw new WorkflowError(
      'invalid_marker',
      `Nodes ${other} and ${id} (${view.classOf(id)}) are both marked @output ${name}. Give each a name of its own.`,
      { nodeId: id },
    );
  }
  outputs.set(id, name);
}

function byName(view: WorkflowView, places: readonly MarkedPlace[]): MarkedPlace[][] {
  const groups = [...Map.groupBy(places, ({ name }) => name).values()];
  for (const [first, ...rest] of groups) {
    const other = rest.find((place) => first !== undefined && !isSameValue(view, first, place));
    if (first === undefined || other === undefined) continue;
    throw new WorkflowError(
      'invalid_marker',
      `Nodes ${first.node} (${first.field}) and ${other.node} (${other.field}) are both marked @input ${first.name}, and their values differ.` +
        ' Give each a name of its own, or both the same value if they are to be set together.',
      { nodeId: other.node, input: other.field },
    );
  }
  return groups;
}

function isSameValue(view: WorkflowView, left: MarkedPlace, right: MarkedPlace): boolean {
  const isSamePlace = left.node === right.node && left.field === right.field;
  return isSamePlace || JSON.stringify(view.valueAt(left)) === JSON.stringify(view.valueAt(right));
}

function markedField(view: WorkflowView, id: string, given: string | undefined): string {
  const fields = Object.keys(view.node(id).inputs).filter((field) => view.constant(id, field) !== undefined);
  const wanted =
    given ?? (fields.length === 1 ? fields[0] : PRINCIPAL_FIELDS.find((field) => fields.includes(field)));
  if (wanted !== undefined && fields.includes(wanted)) return wanted;
  const choice = fields.length === 0 ? 'It has none.' : `It has: ${fields.join(', ')}.`;
  throw new WorkflowError(
    'invalid_marker',
    given === undefined
      ? `Node ${id} (${view.classOf(id)}): its marker must say which value is meant, as in @input name=field. ${choice}`
      : `Node ${id} (${view.classOf(id)}): its marker names ${given}, which is no value of it. ${choice}`,
    { nodeId: id, ...(given === undefined ? {} : { input: given }) },
  );
}
