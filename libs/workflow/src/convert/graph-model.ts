import { findClass, inputsOf, type NodeClass, type ObjectInfo, outputType } from '../object-info.ts';
import {
  nodeKey,
  type UiLinkObject,
  type UiLinkTuple,
  type UiNode,
  type UiNodeId,
  type UiSlotType,
  type UiSubgraph,
  type UiSubgraphSlot,
  type UiWorkflow,
} from '../ui-workflow.ts';
import { WorkflowError } from '../workflow-error.ts';
import { isWidgetInput, readWidgets, type Widget } from './widget.ts';

/** litegraph's id of a subgraph's inner end of its inputs, where the definition names no other. */
const INPUT_NODE = '-10';

/** Nodes that exist on the page only. */
const VIRTUAL = new Set(['Reroute', 'PrimitiveNode', 'Note', 'MarkdownNote']);

/** Classes that the page renames when it loads old files. */
const RENAMED = new Map([
  ['T2IAdapterLoader', 'ControlNetLoader'],
  ['ConditioningAverage ', 'ConditioningAverage'],
  ['SDV_img2vid_Conditioning', 'SVD_img2vid_Conditioning'],
]);

const MUTED = 2;
const BYPASSED = 4;

/** Where a link comes from. */
export interface LinkModel {
  readonly origin: string;
  readonly originSlot: number;
  /** Node that it goes to; a slot that names a link of another node is not connected. */
  readonly target: string;
}

/** An input slot, typed as its class declares it. */
export interface InputModel {
  readonly name: string;
  readonly type: string;
  readonly link: number | undefined;
  readonly widget: string | undefined;
}

/** A node with its slots as the page shows them once it has loaded the file. */
export interface NodeModel {
  readonly key: string;
  readonly type: string;
  readonly node: UiNode;
  readonly muted: boolean;
  readonly bypassed: boolean;
  readonly virtual: boolean;
  readonly nodeClass: NodeClass | undefined;
  /** Definition that this node is an instance of. */
  readonly definition: GraphModel | undefined;
  readonly inputs: readonly InputModel[];
  readonly outputTypes: readonly string[];
  readonly widgets: readonly Widget[];
}

/** An input or output of a subgraph. */
export interface BoundarySlot {
  readonly name: string;
  readonly type: string;
  readonly linkIds: readonly number[];
}

/** A graph of the file (the workflow itself or a subgraph definition), indexed. */
export interface GraphModel {
  readonly nodes: ReadonlyMap<string, NodeModel>;
  readonly links: ReadonlyMap<number, LinkModel>;
  readonly inputs: readonly BoundarySlot[];
  readonly outputs: readonly BoundarySlot[];
  readonly inputNode: string;
  /** Ids of the file that are other ids here, because another graph has them too. */
  readonly renumbered: ReadonlyMap<string, string>;
}

/** The workflow and its subgraph definitions, inner ones first. */
export interface WorkflowModel {
  readonly root: GraphModel;
  readonly definitions: readonly GraphModel[];
}

/**
 * Indexes a workflow in UI format.
 *
 * @throws {WorkflowError} `invalid_workflow` when a subgraph contains itself.
 */
export function modelOf(workflow: UiWorkflow, objectInfo: ObjectInfo): WorkflowModel {
  const subgraphs = collectSubgraphs(workflow);
  const renumbered = renumber(workflow, subgraphs.values());
  const models = new Map<string, GraphModel>();
  const definitions = innerFirst(subgraphs).map((subgraph) => {
    const model = graphModel(subgraph, subgraph, models, objectInfo, renumbered.get(subgraph.id));
    models.set(subgraph.id, model);
    return model;
  });
  return { root: graphModel(workflow, undefined, models, objectInfo), definitions };
}

function collectSubgraphs(workflow: UiWorkflow): Map<string, UiSubgraph> {
  const found = new Map<string, UiSubgraph>();
  const pending = [...(workflow.definitions?.subgraphs ?? [])];
  // The list grows while it is walked.
  for (const subgraph of pending) {
    // The page keeps the first of two definitions with one id.
    if (found.has(subgraph.id)) continue;
    found.set(subgraph.id, subgraph);
    for (const inner of subgraph.definitions?.subgraphs ?? []) pending.push(inner);
  }
  return found;
}

/**
 * The page gives every node of a file an id of its own when it loads it: a node of a subgraph whose number the workflow
 * or an earlier definition has gets the next free one.
 */
function renumber(
  workflow: UiWorkflow,
  subgraphs: Iterable<UiSubgraph>,
): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const used = new Set(workflow.nodes.map(({ id }) => nodeKey(id)));
  let last = workflow.last_node_id ?? workflow.state?.lastNodeId ?? 0;
  const renumbered = new Map<string, Map<string, string>>();
  for (const subgraph of subgraphs) {
    const changed = new Map<string, string>();
    for (const { id } of subgraph.nodes) {
      const key = nodeKey(id);
      if (!used.has(key)) {
        if (/^\d{1,15}$/.test(key)) last = Math.max(last, Number(key));
      } else {
        do last += 1;
        while (used.has(String(last)));
        changed.set(key, String(last));
      }
      used.add(changed.get(key) ?? key);
    }
    if (changed.size > 0) renumbered.set(subgraph.id, changed);
  }
  return renumbered;
}

/** Definitions ordered so that each comes after those it contains. */
function innerFirst(subgraphs: ReadonlyMap<string, UiSubgraph>): UiSubgraph[] {
  const ordered: UiSubgraph[] = [];
  const state = new Map<string, 'open' | 'done'>();
  for (const start of subgraphs.values()) {
    const path: UiSubgraph[] = [start];
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      if (state.get(top.id) === 'done') {
        path.pop();
        continue;
      }
      const isFirstVisit = state.get(top.id) === undefined;
      state.set(top.id, 'open');
      const inner = isFirstVisit ? innerDefinitions(top, subgraphs) : [];
      for (const { id, name } of inner) {
        if (state.get(id) === 'open') {
          throw new WorkflowError('invalid_workflow', `Subgraph "${name ?? id}" (${id}) contains itself.`);
        }
      }
      const unvisited = inner.filter(({ id }) => !state.has(id));
      if (unvisited.length > 0) {
        path.push(...unvisited);
        continue;
      }
      state.set(top.id, 'done');
      ordered.push(top);
      path.pop();
    }
  }
  return ordered;
}

function innerDefinitions(subgraph: UiSubgraph, subgraphs: ReadonlyMap<string, UiSubgraph>): UiSubgraph[] {
  const types = new Set(subgraph.nodes.map(({ type }) => type));
  return [...types].flatMap((type) => subgraphs.get(type) ?? []);
}

function graphModel(
  graph: UiWorkflow | UiSubgraph,
  boundary: UiSubgraph | undefined,
  definitions: ReadonlyMap<string, GraphModel>,
  objectInfo: ObjectInfo,
  renumbered: ReadonlyMap<string, string> = new Map(),
): GraphModel {
  const keyOf = (id: UiNodeId) => renumbered.get(nodeKey(id)) ?? nodeKey(id);
  const links = new Map<number, LinkModel>();
  for (const link of graph.links ?? []) {
    if (link !== null) links.set(linkId(link), linkModel(link, keyOf));
  }
  const nodes = new Map<string, NodeModel>();
  for (const node of graph.nodes) {
    const key = keyOf(node.id);
    nodes.set(key, nodeModel(node, key, definitions, objectInfo));
  }
  return {
    nodes,
    links,
    inputs: (boundary?.inputs ?? []).map(boundarySlot),
    outputs: (boundary?.outputs ?? []).map(boundarySlot),
    inputNode: boundary?.inputNode === undefined ? INPUT_NODE : nodeKey(boundary.inputNode.id),
    renumbered,
  };
}

function linkId(link: UiLinkTuple | UiLinkObject): number {
  return 'id' in link ? link.id : link[0];
}

function linkModel(link: UiLinkTuple | UiLinkObject, keyOf: (id: UiNodeId) => string): LinkModel {
  return 'id' in link
    ? { origin: keyOf(link.origin_id), originSlot: link.origin_slot, target: keyOf(link.target_id) }
    : { origin: keyOf(link[1]), originSlot: link[2], target: keyOf(link[3]) };
}

function boundarySlot(slot: UiSubgraphSlot): BoundarySlot {
  return { name: slot.name, type: slotType(slot.type), linkIds: slot.linkIds ?? [] };
}

function nodeModel(
  node: UiNode,
  key: string,
  definitions: ReadonlyMap<string, GraphModel>,
  objectInfo: ObjectInfo,
): NodeModel {
  const type = RENAMED.get(node.type) ?? node.type;
  const definition = definitions.get(type);
  const nodeClass = definition === undefined ? findClass(objectInfo, type) : undefined;
  const widgets = nodeClass === undefined ? [] : readWidgets(nodeClass, node);
  const common = {
    key,
    type,
    node,
    muted: node.mode === MUTED,
    bypassed: node.mode === BYPASSED,
    virtual: nodeClass === undefined && VIRTUAL.has(type),
    nodeClass,
    definition,
    widgets,
  };
  if (definition !== undefined) {
    const outputTypes = definition.outputs.map((slot) => slot.type);
    return { ...common, inputs: instanceInputs(node, definition), outputTypes };
  }
  const outputTypes = (node.outputs ?? []).map((output) => slotType(output.type));
  if (nodeClass === undefined) {
    return { ...common, inputs: (node.inputs ?? []).map(savedInput), outputTypes };
  }
  const count = Math.max(outputTypes.length, nodeClass.output.length);
  return {
    ...common,
    inputs: classInputs(node, nodeClass, widgets),
    outputTypes: Array.from(
      { length: count },
      (_, index) => outputType(nodeClass, index) ?? outputTypes[index] ?? '*',
    ),
  };
}

function savedInput(input: NonNullable<UiNode['inputs']>[number]): InputModel {
  return {
    name: input.name,
    type: slotType(input.type),
    link: input.link ?? undefined,
    widget: input.widget?.name,
  };
}

/**
 * The slots of a node of a known class: sockets, then widgets, as the class declares them and whatever the file says;
 * then slots of the file that the class does not know, except those of widgets that no longer exist.
 */
function classInputs(node: UiNode, nodeClass: NodeClass, widgets: readonly Widget[]): InputModel[] {
  const saved = new Map((node.inputs ?? []).map((input) => [input.name, input]));
  const widgetNames = new Set(widgets.map(({ name }) => name));
  const declared = inputsOf(nodeClass);
  const inputs: InputModel[] = [];
  const known = new Set<string>();
  const add = (name: string, type: string, widget: string | undefined) => {
    known.add(name);
    inputs.push({ name, type, link: saved.get(name)?.link ?? undefined, widget });
  };
  for (const input of declared) {
    if (isWidgetInput(input) || input.type === 'COMFY_AUTOGROW_V3') continue;
    add(input.name, input.type === 'COMFY_MATCHTYPE_V3' ? '*' : input.type, undefined);
  }
  for (const widget of widgets) {
    if (widget.declared !== undefined) add(widget.name, widget.declared.type, widget.name);
  }
  for (const input of node.inputs ?? []) {
    if (known.has(input.name)) continue;
    const widget = input.widget?.name;
    if (widget === undefined || widgetNames.has(widget)) inputs.push(savedInput(input));
  }
  return inputs;
}

/**
 * The inputs of a subgraph instance: one for each input of its definition, linked as the file says. Names and types
 * tell which is which; an input that the file does not know is not linked.
 */
function instanceInputs(node: UiNode, definition: GraphModel): InputModel[] {
  const saved = Map.groupBy(node.inputs ?? [], ({ name }) => name);
  return definition.inputs.map(({ name, type }) => {
    const named = saved.get(name) ?? [];
    const index = Math.max(
      0,
      named.findIndex((input) => slotType(input.type) === type),
    );
    const [input] = named.splice(index, 1);
    return { name, type, link: input?.link ?? undefined, widget: undefined };
  });
}

/** A slot's type as a text; litegraph's 0 and the empty text stand for any. */
function slotType(type: UiSlotType | null | undefined): string {
  if (type === undefined || type === null || type === 0 || type === '') return '*';
  return typeof type === 'object' ? 'COMBO' : String(type);
}
