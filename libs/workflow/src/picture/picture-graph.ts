import { type ApiWorkflow, isLink } from '../api-workflow.ts';
import type { Json } from '../json-value.ts';
import { findClass, inputsOf, type NodeClass, type ObjectInfo } from '../object-info.ts';
import { readWidgets } from '../convert/widget.ts';
import { parseWorkflow } from '../parse-workflow.ts';
import { nodeKey, type UiNode, type UiSlotType, type UiWorkflow } from '../ui-workflow.ts';

/** A node as a picture shows it. */
export interface PictureNode {
  readonly id: string;
  readonly title: string;
  /** Name of the class, where the title is another. */
  readonly className: string | undefined;
  readonly inputs: readonly { readonly name: string; readonly type: string }[];
  readonly outputs: readonly { readonly name: string; readonly type: string }[];
  /** Values shown below the slots. */
  readonly values: readonly { readonly name: string | undefined; readonly text: string }[];
  /** Names of this node's values that are inputs of the endpoint, with their names there. */
  readonly marked: ReadonlyMap<string, string>;
  readonly state: 'runs' | 'muted' | 'bypassed';
  /** A note: text without slots. */
  readonly isNote: boolean;
  /** Where the page had it. */
  readonly position: readonly [x: number, y: number] | undefined;
  readonly size: readonly [width: number, height: number] | undefined;
}

/** A link from an output to an input, by their numbers in their nodes. */
export interface PictureLink {
  readonly from: string;
  readonly output: number;
  readonly to: string;
  readonly input: number;
  readonly type: string;
}

/** A coloured frame of the page. */
export interface PictureGroup {
  readonly title: string;
  readonly bounds: readonly [x: number, y: number, width: number, height: number];
}

/** What a picture shows. */
export interface PictureGraph {
  readonly nodes: readonly PictureNode[];
  readonly links: readonly PictureLink[];
  readonly groups: readonly PictureGroup[];
}

/** Inputs of an endpoint to highlight, by name: `config.inputs` of an endpoint.json. */
export type HighlightedInputs = Readonly<
  Record<
    string,
    {
      readonly node: string;
      readonly field: string;
      readonly also?: readonly { readonly node: string; readonly field: string }[] | undefined;
    }
  >
>;

/** Most values that a node shows, so that it stays small. */
const MOST_VALUES = 6;

/**
 * The graph of a workflow in either format. In UI format subgraphs are one node, as on the page; inputs of the endpoint
 * within them are marked on that node.
 *
 * @throws {WorkflowError} `invalid_workflow`.
 */
export function pictureGraph(
  value: unknown,
  objectInfo: ObjectInfo,
  highlight: HighlightedInputs,
): PictureGraph {
  const parsed = parseWorkflow(value);
  const marks = marksOf(highlight);
  return parsed.format === 'api'
    ? apiGraph(parsed.workflow, objectInfo, marks)
    : uiGraph(parsed.workflow, objectInfo, marks);
}

/** Names of inputs by node and field. */
type Marks = ReadonlyMap<string, ReadonlyMap<string, string>>;

function marksOf(highlight: HighlightedInputs): Marks {
  const marks = new Map<string, Map<string, string>>();
  for (const [name, input] of Object.entries(highlight)) {
    for (const { node, field } of [input, ...(input.also ?? [])]) {
      const fields = marks.get(node) ?? new Map<string, string>();
      marks.set(node, fields.set(field, name));
    }
  }
  return marks;
}

function apiGraph(workflow: ApiWorkflow, objectInfo: ObjectInfo, marks: Marks): PictureGraph {
  const ids = new Set(Object.keys(workflow));
  const links: PictureLink[] = [];
  const used = new Map<string, number>();
  for (const node of Object.values(workflow)) {
    for (const value of Object.values(node.inputs)) {
      if (isLink(value)) used.set(value[0], Math.max(used.get(value[0]) ?? 0, value[1] + 1));
    }
  }
  const nodes = Object.entries(workflow).map(([id, node]): PictureNode => {
    const nodeClass = findClass(objectInfo, node.class_type);
    const types = new Map(
      (nodeClass === undefined ? [] : inputsOf(nodeClass)).map(({ name, type }) => [name, type]),
    );
    const inputs: { name: string; type: string }[] = [];
    const values: { name: string; text: string }[] = [];
    for (const [name, value] of Object.entries(node.inputs)) {
      if (isLink(value) && ids.has(value[0])) {
        const outputs = findClass(objectInfo, workflow[value[0]]?.class_type ?? '')?.output;
        const type = textOf(outputs?.[value[1]]) ?? types.get(name) ?? '*';
        links.push({ from: value[0], output: value[1], to: id, input: inputs.length, type });
        inputs.push({ name, type });
      } else values.push({ name, text: shown(value) });
    }
    const count = Math.min(64, Math.max(nodeClass?.output.length ?? 0, used.get(id) ?? 0));
    const marked = marks.get(id) ?? new Map<string, string>();
    return {
      id,
      ...titles(node._meta?.title ?? nodeClass?.display_name ?? undefined, node.class_type),
      inputs,
      outputs: Array.from({ length: count }, (_, index) => ({
        name: nodeClass?.output_name?.[index] ?? '',
        type: textOf(nodeClass?.output[index]) ?? '*',
      })),
      values: chosenValues(values, marked),
      marked,
      state: 'runs',
      isNote: false,
      position: undefined,
      size: undefined,
    };
  });
  return { nodes, links, groups: [] };
}

function textOf(type: string | readonly Json[] | undefined): string | undefined {
  return type === undefined || typeof type === 'string' ? type : 'COMBO';
}

function uiGraph(workflow: UiWorkflow, objectInfo: ObjectInfo, marks: Marks): PictureGraph {
  const names = new Map(
    (workflow.definitions?.subgraphs ?? []).map(({ id, name }) => [id, name ?? 'Subgraph']),
  );
  const byKey = new Map(workflow.nodes.map((node) => [nodeKey(node.id), node]));
  const links = (workflow.links ?? []).flatMap((link): PictureLink[] => {
    if (link === null) return [];
    const [id, origin, output, target, input] =
      'id' in link ? [link.id, link.origin_id, link.origin_slot, link.target_id, link.target_slot] : link;
    const [from, to] = [byKey.get(nodeKey(origin)), byKey.get(nodeKey(target))];
    // Links that end nowhere are saved too.
    if (from === undefined || to === undefined || to.inputs?.[input]?.link !== id) return [];
    const type = slotText(from.outputs?.[output]?.type);
    const shownInput = (to.inputs ?? []).slice(0, input).filter(isShown).length;
    return [{ from: nodeKey(from.id), output, to: nodeKey(to.id), input: shownInput, type }];
  });
  const nodes = workflow.nodes.map((node) => uiNode(node, names.get(node.type), objectInfo, marks));
  return { nodes, links, groups: groupsOf(workflow) };
}

/** Sockets of values that nothing is linked to are not worth a line. */
function isShown(input: { readonly link?: number | null; readonly widget?: unknown }): boolean {
  return input.widget === undefined || input.widget === null || typeof input.link === 'number';
}

function uiNode(
  node: UiNode,
  subgraph: string | undefined,
  objectInfo: ObjectInfo,
  marks: Marks,
): PictureNode {
  const id = nodeKey(node.id);
  const nodeClass = findClass(objectInfo, node.type);
  const marked = marksWithin(marks, id);
  const isNote = node.type === 'Note' || node.type === 'MarkdownNote';
  const given = nodeClass === undefined ? savedValues(node) : knownValues(nodeClass, node);
  const values = given
    .filter(([, value]) => value !== null && value !== '' && typeof value !== 'object')
    .map(([name, value]) => ({ name, text: isNote ? withoutLinks(shown(value)) : shown(value) }));
  const box = node as { readonly pos?: unknown; readonly size?: unknown };
  return {
    id,
    ...titles(
      node.title ?? subgraph ?? nodeClass?.display_name ?? undefined,
      subgraph === undefined ? node.type : 'Subgraph',
    ),
    inputs: (node.inputs ?? []).filter(isShown).map(({ name, type }) => ({ name, type: slotText(type) })),
    outputs: (node.outputs ?? []).map(({ name, type }) => ({ name: name ?? '', type: slotText(type) })),
    values: chosenValues(values, marked),
    marked,
    state: node.mode === 2 ? 'muted' : node.mode === 4 ? 'bypassed' : 'runs',
    isNote,
    position: pair(box.pos),
    size: pair(box.size),
  };
}

type Given = readonly (readonly [name: string | undefined, value: Json])[];

/** Values by the names that the class gives them; those that a link brings are left out. */
function knownValues(nodeClass: NodeClass, node: UiNode): Given {
  const linked = new Set(
    (node.inputs ?? []).flatMap(({ link, widget }) => (typeof link === 'number' ? (widget?.name ?? []) : [])),
  );
  return readWidgets(nodeClass, node)
    .filter(({ name, sent }) => sent && !linked.has(name))
    .map(({ name, value }) => [name, value ?? null]);
}

/** Values as the file has them: with names where it has a socket for each, as subgraphs do. */
function savedValues(node: UiNode): Given {
  const saved = node.widgets_values;
  if (saved === undefined || saved === null) return [];
  if (!isList(saved)) return Object.entries(saved);
  const fields = (node.inputs ?? []).flatMap(({ widget }) => widget?.name ?? []);
  return saved.map((value, index) => [fields.length === saved.length ? fields[index] : undefined, value]);
}

/** Of a link in Markdown only its words: addresses fill a note. */
function withoutLinks(text: string): string {
  return text.replace(/\[([^\]]{1,200})\]\([^)\s]{1,500}\)/g, '$1').replace(/[*#`]{1,6}/g, '');
}

/** Marks of a node, and of the nodes within it where it is a subgraph: `57:3` is within 57. */
function marksWithin(marks: Marks, id: string): ReadonlyMap<string, string> {
  const own = new Map(marks.get(id));
  for (const [node, fields] of marks) {
    if (!node.startsWith(`${id}:`)) continue;
    for (const [field, name] of fields) own.set(`${node}.${field}`, name);
  }
  return own;
}

function isList(values: readonly Json[] | Readonly<Record<string, Json>>): values is readonly Json[] {
  return Array.isArray(values);
}

/** Values that are inputs first, then the first others. */
function chosenValues(
  values: readonly { readonly name: string | undefined; readonly text: string }[],
  marked: ReadonlyMap<string, string>,
): PictureNode['values'] {
  const isMarked = ({ name }: { readonly name: string | undefined }) =>
    name !== undefined && marked.has(name);
  return [...values.filter(isMarked), ...values.filter((value) => !isMarked(value))].slice(0, MOST_VALUES);
}

function titles(title: string | undefined, className: string): Pick<PictureNode, 'title' | 'className'> {
  const own = title === undefined || title.trim() === '' ? className : title.trim();
  return { title: own, className: own === className ? undefined : className };
}

function shown(value: Json | undefined): string {
  if (typeof value === 'string') return value.replace(/\s+/g, ' ');
  if (typeof value === 'number')
    return String(
      Number(value.toPrecision(6)) === value || Number.isInteger(value)
        ? value
        : Number(value.toPrecision(6)),
    );
  return JSON.stringify(value ?? null);
}

function slotText(type: UiSlotType | null | undefined): string {
  if (type === undefined || type === null || type === 0 || type === '') return '*';
  return typeof type === 'object' ? 'COMBO' : String(type);
}

/** litegraph writes pairs as lists or as objects with the keys 0 and 1. */
function pair(value: unknown): readonly [number, number] | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const [x, y] = [(value as Record<string, unknown>)['0'], (value as Record<string, unknown>)['1']];
  return typeof x === 'number' && typeof y === 'number' && Number.isFinite(x) && Number.isFinite(y)
    ? [x, y]
    : undefined;
}

function groupsOf(workflow: UiWorkflow): PictureGroup[] {
  const groups = (workflow as { readonly groups?: unknown }).groups;
  return (Array.isArray(groups) ? (groups as unknown[]) : []).flatMap((group): PictureGroup[] => {
    if (typeof group !== 'object' || group === null) return [];
    const { title, bounding } = group as { readonly title?: unknown; readonly bounding?: unknown };
    const numbers = Array.isArray(bounding)
      ? (bounding as unknown[]).filter((one) => typeof one === 'number' && Number.isFinite(one))
      : [];
    const [x, y, width, height] = numbers as number[];
    if (x === undefined || y === undefined || width === undefined || height === undefined) return [];
    return [{ title: typeof title === 'string' ? title : '', bounds: [x, y, width, height] }];
  });
}
