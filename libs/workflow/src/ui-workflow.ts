import { describe, isForbidden, isObject, type Json, type JsonObject, valueProblem } from './json-value.ts';
import { isUiWorkflow, MAXIMUM_NODES } from './api-workflow.ts';
import { WorkflowError } from './workflow-error.ts';

/** Id of a node in UI format: a number, in some files a text. */
export type UiNodeId = number | string;

/** Type of a slot: `IMAGE`, `INT,FLOAT`, `*`; 0 and -1 are litegraph's own. */
export type UiSlotType = string | number | readonly string[];

/** An input slot of a node. */
export interface UiInput {
  readonly name: string;
  readonly type?: UiSlotType;
  /** Id of the link that ends here. */
  readonly link?: number | null;
  /** Named where the slot belongs to a widget ("converted to input" in older files). */
  readonly widget?: { readonly name: string };
}

/** An output slot of a node. */
export interface UiOutput {
  readonly name?: string;
  readonly type?: UiSlotType;
  readonly links?: readonly (number | null)[] | null;
}

/** A node as ComfyUI's page saves it. */
export interface UiNode {
  readonly id: UiNodeId;
  /** Class of the node, or id of a subgraph definition. */
  readonly type: string;
  /** 0 runs; 2 is muted; 4 is bypassed. */
  readonly mode?: number;
  readonly title?: string;
  readonly inputs?: readonly UiInput[] | null;
  readonly outputs?: readonly UiOutput[] | null;
  /** Values in the order of the node's widgets; some custom nodes save them by name. */
  readonly widgets_values?: readonly Json[] | JsonObject | null;
  readonly properties?: JsonObject | null;
}

/** A link as litegraph's schema 0.4 writes it at the top level. */
export type UiLinkTuple = readonly [
  id: number,
  origin: UiNodeId,
  originSlot: number,
  target: UiNodeId,
  targetSlot: number,
  type?: UiSlotType | null,
];

/** A link as litegraph's schema 1, and every subgraph definition, writes it. */
export interface UiLinkObject {
  readonly id: number;
  readonly origin_id: UiNodeId;
  readonly origin_slot: number;
  readonly target_id: UiNodeId;
  readonly target_slot: number;
  readonly type?: UiSlotType | null;
}

/** An input or output of a subgraph definition. */
export interface UiSubgraphSlot {
  readonly name: string;
  readonly type?: UiSlotType;
  readonly linkIds?: readonly number[] | null;
}

/** A subgraph: a graph that nodes of the type `id` are instances of. */
export interface UiSubgraph {
  readonly id: string;
  readonly name?: string;
  readonly nodes: readonly UiNode[];
  readonly links: readonly (UiLinkTuple | UiLinkObject | null)[];
  readonly inputs?: readonly UiSubgraphSlot[] | null;
  readonly outputs?: readonly UiSubgraphSlot[] | null;
  readonly inputNode?: { readonly id: UiNodeId };
  readonly definitions?: { readonly subgraphs?: readonly UiSubgraph[] | null } | null;
}

/** A workflow as ComfyUI's page saves it: litegraph's schema 0.4 or 1. */
export interface UiWorkflow {
  readonly version?: number;
  /** Highest number that the page has given to a node: schema 0.4 has it here, schema 1 in `state`. */
  readonly last_node_id?: number;
  readonly state?: { readonly lastNodeId?: number };
  readonly nodes: readonly UiNode[];
  readonly links?: readonly (UiLinkTuple | UiLinkObject | null)[] | null;
  readonly definitions?: { readonly subgraphs?: readonly UiSubgraph[] | null } | null;
}

/**
 * Checks that a value is a workflow in UI format, and returns it. Links that end nowhere are accepted: the page
 * saves them, and they mean that nothing is connected.
 *
 * @throws {WorkflowError} `invalid_workflow` with the node and input of the first problem and what was expected.
 */
export function parseUiWorkflow(value: unknown): UiWorkflow {
  if (!isObject(value)) throw fail(`A workflow is an object, not ${describe(value)}.`);
  if (!isUiWorkflow(value)) {
    throw fail(
      'This is no workflow as ComfyUI\'s page saves it: it needs a list "nodes" and a list "links".' +
        ` Here nodes is ${describe(value['nodes'])} and links is ${describe(value['links'])}.`,
    );
  }
  checkLastId(value);
  const budget = { nodes: 0 };
  const pending: [graph: Record<string, unknown>, where: string][] = [[value, '']];
  for (let entry = pending.pop(); entry !== undefined; entry = pending.pop()) {
    const [graph, where] = entry;
    checkGraph(graph, where, budget);
    for (const subgraph of subgraphsOf(graph, where)) {
      const id = subgraph['id'];
      if (typeof id !== 'string' || id === '')
        throw fail(`A subgraph definition${where} has no id: a text was expected, not ${describe(id)}.`);
      checkBoundary(subgraph, id);
      pending.push([subgraph, ` of subgraph ${nameOf(subgraph, id)}`]);
    }
  }
  // Every graph, node, slot and link was looked at above.
  return value as unknown as UiWorkflow;
}

function checkLastId(workflow: Record<string, unknown>): void {
  const { last_node_id: last, state } = workflow;
  if (state !== undefined && !isObject(state))
    throw fail(`"state" must be an object, not ${describe(state)}.`);
  for (const id of [last, state?.['lastNodeId']]) {
    if (id !== undefined && !Number.isSafeInteger(id))
      throw fail(`"last_node_id" must be a whole number, not ${describe(id)}.`);
  }
}

/** Nodes of a graph by one id or another: page files mix 3 and "3". */
export function nodeKey(id: UiNodeId): string {
  return typeof id === 'string' ? id : String(id);
}

function fail(message: string, nodeId?: string, input?: string): WorkflowError {
  return new WorkflowError('invalid_workflow', message, {
    ...(nodeId === undefined ? {} : { nodeId }),
    ...(input === undefined ? {} : { input }),
  });
}

function nameOf(subgraph: Record<string, unknown>, id: string): string {
  return typeof subgraph['name'] === 'string' ? `"${subgraph['name']}" (${id})` : id;
}

function* subgraphsOf(graph: Record<string, unknown>, where: string): Generator<Record<string, unknown>> {
  const definitions = graph['definitions'];
  if (definitions === undefined || definitions === null) return;
  if (!isObject(definitions))
    throw fail(`"definitions"${where} must be an object, not ${describe(definitions)}.`);
  const subgraphs = definitions['subgraphs'];
  if (subgraphs === undefined || subgraphs === null) return;
  if (!Array.isArray(subgraphs))
    throw fail(`"definitions.subgraphs"${where} must be a list, not ${describe(subgraphs)}.`);
  for (const subgraph of subgraphs as unknown[]) {
    if (!isObject(subgraph))
      throw fail(`A subgraph definition${where} must be an object, not ${describe(subgraph)}.`);
    yield subgraph;
  }
}

function checkGraph(graph: Record<string, unknown>, where: string, budget: { nodes: number }): void {
  const nodes = graph['nodes'];
  if (!Array.isArray(nodes)) throw fail(`"nodes"${where} must be a list, not ${describe(nodes)}.`);
  budget.nodes += nodes.length;
  if (budget.nodes > MAXIMUM_NODES)
    throw fail(`The workflow has more than ${MAXIMUM_NODES} nodes, the most that are accepted.`);
  const ids = new Set<string>();
  for (const node of nodes as unknown[]) {
    const id = checkNode(node, where);
    if (ids.has(id)) throw fail(`Two nodes${where} have the id ${id}.`, id);
    ids.add(id);
  }
  const links = graph['links'];
  if (links === undefined || links === null) return;
  if (!Array.isArray(links)) throw fail(`"links"${where} must be a list, not ${describe(links)}.`);
  for (const link of links as unknown[]) checkLink(link, where);
}

function checkNode(node: unknown, where: string): string {
  if (!isObject(node)) throw fail(`A node${where} must be an object, not ${describe(node)}.`);
  const rawId = node['id'];
  if (!isNodeId(rawId))
    throw fail(`A node${where} has no id: a number or a text was expected, not ${describe(rawId)}.`);
  const id = nodeKey(rawId);
  if (isForbidden(id)) throw fail(`"${id}" is not allowed as a node id.`, id);
  const { type, mode, title, inputs, outputs, properties } = node;
  if (typeof type !== 'string' || type === '')
    throw fail(`Node ${id}${where}: "type" must be the name of its class, not ${describe(type)}.`, id);
  // Most nodes are fine: messages are put together only for one that is not.
  const found =
    (mode !== undefined && mode !== null && !Number.isInteger(mode)
      ? [`: "mode" must be a whole number (0 runs, 2 muted, 4 bypassed).`]
      : undefined) ??
    (title !== undefined && title !== null && typeof title !== 'string'
      ? [`: "title" must be a text, not ${describe(title)}.`]
      : undefined) ??
    inputsProblem(inputs) ??
    outputsProblem(outputs) ??
    widgetValuesProblem(node['widgets_values']) ??
    (properties !== undefined && properties !== null && !isObject(properties)
      ? [`: "properties" must be an object, not ${describe(properties)}.`]
      : undefined);
  if (found !== undefined) throw fail(`Node ${id} (${type})${where}${found[0]}`, id, found[1]);
  return id;
}

/** The rest of a sentence about a node, and the input to blame. */
type NodeProblem = readonly [message: string, input?: string];

function inputsProblem(inputs: unknown): NodeProblem | undefined {
  if (inputs === undefined || inputs === null) return undefined;
  if (!Array.isArray(inputs)) return [`: "inputs" must be a list, not ${describe(inputs)}.`];
  for (const input of inputs as unknown[]) {
    if (!isObject(input)) return [`: an input must be an object, not ${describe(input)}.`];
    const { name, link, type, widget } = input;
    if (typeof name !== 'string')
      return [`: an input has no name: a text was expected, not ${describe(name)}.`];
    if (isForbidden(name)) return [`, input ${name}: this name is not allowed.`, name];
    if (link !== undefined && link !== null && typeof link !== 'number')
      return [`, input ${name}: "link" must be the id of a link, a number, or null.`, name];
    if (!isSlotType(type)) return [`, input ${name}: "type" must be a text, not ${describe(type)}.`, name];
    if (widget === undefined || widget === null) continue;
    if (!isObject(widget) || typeof widget['name'] !== 'string')
      return [`, input ${name}: "widget" must be an object with a name.`, name];
    if (isForbidden(widget['name']))
      return [`, input ${name}: a widget may not be called "${widget['name']}".`, name];
  }
  return undefined;
}

function outputsProblem(outputs: unknown): NodeProblem | undefined {
  if (outputs === undefined || outputs === null) return undefined;
  if (!Array.isArray(outputs)) return [`: "outputs" must be a list, not ${describe(outputs)}.`];
  for (const output of outputs as unknown[]) {
    if (!isObject(output)) return [`: an output must be an object, not ${describe(output)}.`];
    const { type, links } = output;
    if (!isSlotType(type)) return [`: the type of an output must be a text, not ${describe(type)}.`];
    if (links !== undefined && links !== null && !Array.isArray(links))
      return [`: "links" of an output must be a list or null, not ${describe(links)}.`];
  }
  return undefined;
}

function widgetValuesProblem(values: unknown): NodeProblem | undefined {
  if (values === undefined || values === null) return undefined;
  if (!Array.isArray(values)) {
    if (!isObject(values))
      return [`: "widgets_values" must be a list or an object, not ${describe(values)}.`];
    const found = valueProblem(values);
    return found === undefined ? undefined : [`, widgets_values: ${found}`];
  }
  for (const value of values as unknown[]) {
    const kind = typeof value;
    if (kind === 'string' || kind === 'boolean' || value === null) continue;
    if (kind === 'number' && Number.isFinite(value)) continue;
    const found = valueProblem(value);
    if (found !== undefined) return [`, widgets_values: ${found}`];
  }
  return undefined;
}

function checkLink(link: unknown, where: string): void {
  if (link === null) return;
  if (Array.isArray(link)) {
    const [id, origin, originSlot, target, targetSlot] = link as unknown[];
    checkLinkEnds(id, origin, originSlot, target, targetSlot, where);
  } else if (isObject(link)) {
    checkLinkEnds(
      link['id'],
      link['origin_id'],
      link['origin_slot'],
      link['target_id'],
      link['target_slot'],
      where,
    );
  } else {
    throw fail(`A link${where} must be a list or an object, not ${describe(link)}.`);
  }
}

function checkLinkEnds(
  id: unknown,
  origin: unknown,
  originSlot: unknown,
  target: unknown,
  targetSlot: unknown,
  where: string,
): void {
  if (typeof id !== 'number')
    throw fail(`A link${where} has no id: a number was expected, not ${describe(id)}.`);
  if (!isNodeId(origin) || !isNodeId(target))
    throw fail(`Link ${id}${where} must name the node it comes from and the node it goes to.`);
  if (!isSlotIndex(originSlot) || !isSlotIndex(targetSlot))
    throw fail(`Link ${id}${where} must name its slots by whole numbers.`, nodeKey(target));
}

function checkBoundary(subgraph: Record<string, unknown>, id: string): void {
  for (const side of ['inputs', 'outputs']) {
    const slots = subgraph[side];
    if (slots === undefined || slots === null) continue;
    if (!Array.isArray(slots))
      throw fail(`Subgraph ${id}: "${side}" must be a list, not ${describe(slots)}.`);
    for (const slot of slots as unknown[]) {
      if (!isObject(slot) || typeof slot['name'] !== 'string')
        throw fail(`Subgraph ${id}: each of its ${side} must be an object with a name.`);
      if (isForbidden(slot['name']))
        throw fail(`Subgraph ${id}: "${slot['name']}" is not allowed as a name.`);
      if (!isSlotType(slot['type'])) throw fail(`Subgraph ${id}, ${slot['name']}: "type" must be a text.`);
      const links = slot['linkIds'];
      if (links !== undefined && links !== null && !Array.isArray(links))
        throw fail(`Subgraph ${id}, ${slot['name']}: "linkIds" must be a list, not ${describe(links)}.`);
    }
  }
  const end = subgraph['inputNode'];
  if (end !== undefined && !(isObject(end) && isNodeId(end['id'])))
    throw fail(`Subgraph ${id}: "inputNode" must be an object with an id.`);
}

function isNodeId(value: unknown): value is UiNodeId {
  return typeof value === 'string' || (typeof value === 'number' && Number.isFinite(value));
}

/** litegraph reads "0" and 0 alike; anything but a number is refused here because no page writes it. */
function isSlotIndex(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value);
}

function isSlotType(value: unknown): boolean {
  return (
    value === undefined ||
    value === null ||
    typeof value === 'string' ||
    typeof value === 'number' ||
    Array.isArray(value)
  );
}
