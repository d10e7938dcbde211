import type { Json } from '../json-value.ts';
import { WorkflowError } from '../workflow-error.ts';
import type { GraphModel, NodeModel } from './graph-model.ts';
import { type PromotedValues, widgetKey } from './promoted-value.ts';

/** A graph in its place: the workflow itself, or one instance of a subgraph. */
export interface Instance {
  readonly graph: GraphModel;
  /** Ids of the instances around its nodes, each followed by a colon: `57:3:`. */
  readonly prefix: string;
  readonly parent: Instance | undefined;
  readonly host: NodeModel | undefined;
  readonly children: Map<string, Instance>;
  /** How many instances are around it. */
  readonly depth: number;
}

/** What an input stands for once nodes that only the page has are followed through. */
export type Resolved =
  | { readonly kind: 'link'; readonly nodeId: string; readonly output: number }
  | { readonly kind: 'value'; readonly value: Json | undefined }
  | { readonly kind: 'nothing' };

const NOTHING: Resolved = { kind: 'nothing' };

/** The instance that a node of a subgraph's type makes of its definition. */
export function childOf(instance: Instance, host: NodeModel, definition: GraphModel): Instance {
  let child = instance.children.get(host.key);
  if (child === undefined) {
    child = {
      graph: definition,
      prefix: `${instance.prefix}${host.key}:`,
      parent: instance,
      host,
      children: new Map(),
      depth: instance.depth + 1,
    };
    instance.children.set(host.key, child);
  }
  return child;
}

/** A value that the instance sets on an inner widget (or input of an inner instance) without an input of its own. */
export function overrideOf(
  instance: Instance,
  promoted: ReadonlyMap<NodeModel, PromotedValues>,
  node: string,
  widget: string,
): Json | undefined {
  const byWidget = instance.host === undefined ? undefined : promoted.get(instance.host)?.byWidget;
  return byWidget === undefined || byWidget.size === 0 ? undefined : byWidget.get(widgetKey(node, widget));
}

/** Follows links to the node that runs, or to the value of a promoted widget. */
export class LinkResolver {
  readonly #promoted: ReadonlyMap<NodeModel, PromotedValues>;
  /** Answers by output and type, so that a chain of reroutes is walked once. */
  readonly #known = new Map<string, Resolved>();

  constructor(promoted: ReadonlyMap<NodeModel, PromotedValues>) {
    this.#promoted = promoted;
  }

  /**
   * What an input of a node stands for.
   *
   * @throws {WorkflowError} `invalid_workflow` when page-only nodes are linked in a circle.
   */
  resolve(instance: Instance, node: NodeModel, index: number): Resolved {
    const visited: string[] = [];
    const seen = new Set<string>();
    const finish = (answer: Resolved) => {
      for (const key of visited) this.#known.set(key, answer);
      return answer;
    };
    let step: Step | Resolved = { at: 'input', instance, node, index, type: undefined };
    while ('at' in step) {
      if (step.at === 'input') {
        step = this.#followInput(step);
        continue;
      }
      const key = `${step.instance.prefix}${step.node.key}\n${step.index}\n${step.type}`;
      const known = this.#known.get(key);
      if (known !== undefined) return finish(known);
      if (seen.has(key)) {
        throw new WorkflowError(
          'invalid_workflow',
          `Node ${step.instance.prefix}${step.node.key} (${step.node.type}) is linked to itself in a circle.`,
          { nodeId: `${step.instance.prefix}${step.node.key}` },
        );
      }
      seen.add(key);
      visited.push(key);
      step = this.#followOutput(step);
    }
    return finish(step);
  }

  #followInput({ instance, node, index, type }: InputStep): Step | Resolved {
    const input = node.inputs[index];
    if (input?.link === undefined) return NOTHING;
    const link = instance.graph.links.get(input.link);
    if (link?.target !== node.key) return NOTHING;
    const wanted = type ?? input.type;
    if (link.origin === instance.graph.inputNode && instance.host !== undefined)
      return this.#followBoundary(instance, instance.host, link.originSlot);
    const origin = instance.graph.nodes.get(link.origin);
    if (origin === undefined) return NOTHING;
    return { at: 'output', instance, node: origin, index: link.originSlot, type: wanted };
  }

  /** Out of a subgraph: to what its instance is linked to there, else to the instance's own value. */
  #followBoundary(instance: Instance, host: NodeModel, index: number): Step | Resolved {
    const { parent } = instance;
    const input = host.inputs[index];
    if (parent === undefined || input === undefined) return NOTHING;
    if (input.link !== undefined && parent.graph.links.get(input.link)?.target === host.key)
      return { at: 'input', instance: parent, node: host, index, type: undefined };
    const byInput = this.#promoted.get(host)?.byInput;
    if (byInput === undefined || !byInput.has(index)) return NOTHING;
    const value = overrideOf(parent, this.#promoted, host.key, input.name) ?? byInput.get(index);
    return { kind: 'value', value };
  }

  #followOutput({ instance, node, index, type }: OutputStep): Step | Resolved {
    if (node.muted) return NOTHING;
    if (node.bypassed) {
      const through = bypassIndex(node, index, type);
      return through === -1 ? NOTHING : { at: 'input', instance, node, index: through, type: undefined };
    }
    if (node.definition !== undefined) {
      const child = childOf(instance, node, node.definition);
      const link = node.definition.outputs[index]?.linkIds
        .map((id) => child.graph.links.get(id))
        .find((found) => found !== undefined);
      if (link === undefined) return NOTHING;
      if (link.origin === child.graph.inputNode) return this.#followBoundary(child, node, link.originSlot);
      const origin = child.graph.nodes.get(link.origin);
      if (origin === undefined) return NOTHING;
      return { at: 'output', instance: child, node: origin, index: link.originSlot, type };
    }
    if (node.virtual) {
      return node.inputs[index] === undefined ? NOTHING : { at: 'input', instance, node, index, type };
    }
    return { kind: 'link', nodeId: `${instance.prefix}${node.key}`, output: index };
  }
}

interface InputStep {
  readonly at: 'input';
  readonly instance: Instance;
  readonly node: NodeModel;
  readonly index: number;
  /** Type that the end of the chain wants; `undefined` for the type of this input. */
  readonly type: string | undefined;
}

interface OutputStep {
  readonly at: 'output';
  readonly instance: Instance;
  readonly node: NodeModel;
  readonly index: number;
  readonly type: string;
}

type Step = InputStep | OutputStep;

/** Input through which a bypassed node lets an output pass: the same slot, else the first of the same type. */
function bypassIndex({ inputs, outputTypes }: NodeModel, output: number, type: string): number {
  if (type === '*') {
    if (inputs.length === 0) return -1;
    return inputs.length > output ? output : 0;
  }
  const outputType = outputTypes[output] ?? '*';
  const fits = (input: { readonly type: string }) =>
    canConnect(input.type, outputType) && canConnect(input.type, type);
  const opposite = inputs[output];
  if (opposite !== undefined && fits(opposite)) return output;
  const same = inputs.findIndex((input) => input.type === type);
  return same === -1 ? inputs.findIndex(fits) : same;
}

/** Whether litegraph lets two types be linked: any, equal, or with a part of `A,B` in common; case is ignored. */
function canConnect(left: string, right: string): boolean {
  if (left === '*' || right === '*') return true;
  const [a, b] = [left.toLowerCase(), right.toLowerCase()];
  if (a === b) return true;
  if (!a.includes(',') && !b.includes(',')) return false;
  const parts = new Set(b.split(','));
  return a.split(',').some((part) => parts.has(part));
}
