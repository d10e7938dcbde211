/** Small workflows in UI format, written as a test thinks of them. */
import type { Json } from '../src/json-value.ts';
import type { NodeClass, ObjectInfo } from '../src/object-info.ts';
import type { UiInput, UiNode, UiSubgraph, UiWorkflow } from '../src/ui-workflow.ts';

/** A link as a test writes it: from node and output to node and input. */
export type Wire = readonly [from: number, output: number, to: number, input: string];

/** Ids of the two ends of a subgraph. */
export const IN = -10;
export const OUT = -20;

/** A node with the given widget values; its inputs are known by {@link graph} from the wires. */
export function node(
  id: number,
  type: string,
  values: readonly Json[] = [],
  more: Partial<UiNode> = {},
): UiNode {
  return { id, type, mode: 0, inputs: [], outputs: [], widgets_values: values, properties: {}, ...more };
}

/** A workflow of nodes and wires, with subgraph definitions. */
export function graph(
  nodes: readonly UiNode[],
  wires: readonly Wire[] = [],
  subgraphs: readonly UiSubgraph[] = [],
): UiWorkflow {
  return {
    version: 0.4,
    last_node_id: Math.max(0, ...nodes.map(({ id }) => Number(id))),
    nodes: wired(nodes, wires),
    links: wires.map(([from, output, to, input], id) => [
      id,
      from,
      output,
      to,
      slotOf(nodes, to, input),
      '*',
    ]),
    definitions: { subgraphs },
  };
}

/** A subgraph definition; wires from {@link IN} and to {@link OUT} name the outer slots by number and by name. */
export function subgraph(
  id: string,
  nodes: readonly UiNode[],
  wires: readonly Wire[],
  slots: {
    readonly inputs?: readonly (readonly [string, string])[];
    readonly outputs?: readonly (readonly [string, string])[];
  },
): UiSubgraph {
  const outputs = slots.outputs ?? [];
  return {
    id,
    name: id,
    nodes: wired(nodes, wires),
    links: wires.map(([from, output, to, input], link) => ({
      id: link,
      origin_id: from,
      origin_slot: output,
      target_id: to,
      target_slot: to === OUT ? outputs.findIndex(([name]) => name === input) : slotOf(nodes, to, input),
    })),
    inputs: (slots.inputs ?? []).map(([name, type], slot) => ({
      name,
      type,
      linkIds: wires.flatMap(([from, output], link) => (from === IN && output === slot ? [link] : [])),
    })),
    outputs: outputs.map(([name, type]) => ({
      name,
      type,
      linkIds: wires.flatMap(([, , to, input], link) => (to === OUT && input === name ? [link] : [])),
    })),
  };
}

/** Adds to each node the inputs that wires end at, unless it has them. */
function wired(nodes: readonly UiNode[], wires: readonly Wire[]): UiNode[] {
  const links = new Map(wires.map(([, , to, input], id) => [`${to}\n${input}`, id]));
  return nodes.map((one) => {
    const names = new Set((one.inputs ?? []).map(({ name }) => name));
    const added = wires.flatMap(([, , to, name]) =>
      to === one.id && !names.has(name) ? [{ name, type: '*' }] : [],
    );
    const inputs = [...(one.inputs ?? []), ...added].map((input): UiInput => {
      const link = links.get(`${String(one.id)}\n${input.name}`);
      return link === undefined ? input : { ...input, link };
    });
    return { ...one, inputs };
  });
}

function slotOf(nodes: readonly UiNode[], id: number, input: string): number {
  const found = nodes.find((one) => one.id === id)?.inputs?.findIndex(({ name }) => name === input) ?? -1;
  return Math.max(0, found);
}

/** A class: inputs as object_info declares them, types of outputs. */
export function nodeClass(
  name: string,
  required: NonNullable<NodeClass['input']['required']>,
  output: readonly string[] = [],
  more: Partial<NodeClass> = {},
): NodeClass {
  return { name, display_name: name, input: { required }, output, ...more };
}

/** An object_info of classes. */
export function catalogue(...classes: readonly NodeClass[]): ObjectInfo {
  return Object.fromEntries(classes.map((one) => [one.name, one]));
}
