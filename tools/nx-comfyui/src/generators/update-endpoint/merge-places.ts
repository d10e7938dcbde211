import { type ApiWorkflow, diffWorkflows } from '@ryla/workflow';

/** A field of a node. */
export interface Place {
  readonly node: string;
  readonly field: string;
}

/** Where what an endpoint.json names is in a changed workflow. */
export class PlaceFinder {
  readonly #later: ApiWorkflow;
  readonly #renumbered: ReadonlyMap<string, string>;

  constructor(earlier: ApiWorkflow, later: ApiWorkflow) {
    this.#later = later;
    this.#renumbered = renumberedNodes(earlier, later);
  }

  /** The node's id now; `undefined` where it is gone. */
  node(id: string): string | undefined {
    const now = this.#renumbered.get(id) ?? id;
    return Object.hasOwn(this.#later, now) ? now : undefined;
  }

  /** The place now; `undefined` where the node or its field is gone. */
  place({ node, field }: Place): Place | undefined {
    const now = this.node(node);
    const inputs = now === undefined ? undefined : this.#later[now]?.inputs;
    return now !== undefined && inputs !== undefined && Object.hasOwn(inputs, field)
      ? { node: now, field }
      : undefined;
  }
}

/** Earlier ids of nodes that have another id in the later workflow. */
function renumberedNodes(earlier: ApiWorkflow, later: ApiWorkflow): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { kind, nodeId } of diffWorkflows(earlier, later)) {
    if (kind !== 'node_renumbered') continue;
    const now = later[nodeId];
    const before = Object.entries(earlier).find(
      ([id, node]) =>
        !Object.hasOwn(later, id) &&
        node.class_type === now?.class_type &&
        (node._meta?.title ?? '') === (now._meta?.title ?? ''),
    );
    if (before !== undefined) found.set(before[0], nodeId);
  }
  return found;
}
