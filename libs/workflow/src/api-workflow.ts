import { describe, isForbidden, isObject, type Json, valueProblem } from './json-value.ts';
import { WorkflowError } from './workflow-error.ts';

/** A link to an output of another node: `[nodeId, outputIndex]`. */
export type Link = readonly [nodeId: string, output: number];

/** One node of a workflow in API format. */
export interface ApiNode {
  readonly class_type: string;
  readonly inputs: Readonly<Record<string, Json>>;
  readonly _meta?: ApiNodeMeta;
}

/** What the page remembers about a node; ComfyUI ignores it. */
export interface ApiNodeMeta {
  readonly title?: string;
  /** The node's package in the Comfy registry: in API format the only identity of a custom node. */
  readonly cnr_id?: string;
  /** The node's repository on GitHub, `user/name`, where its package is not in the registry. */
  readonly aux_id?: string;
  /** Version or commit of the package. */
  readonly ver?: string;
}

/** A ComfyUI workflow in API format ("Save (API Format)"): nodes by id. */
export type ApiWorkflow = Readonly<Record<string, ApiNode>>;

/** Most nodes that a workflow may have; the largest published ones have some hundreds. */
export const MAXIMUM_NODES = 20_000;

/** Something wrong with a workflow, and where. */
export interface WorkflowProblem {
  readonly nodeId: string | undefined;
  readonly input: string | undefined;
  readonly message: string;
}

/** Whether an input value is a link, as ComfyUI decides it: a list of a string and a number. */
export function isLink(value: unknown): value is Link {
  return (
    Array.isArray(value) && value.length === 2 && typeof value[0] === 'string' && typeof value[1] === 'number'
  );
}

/**
 * Checks that a value is a workflow in API format whose links lead to nodes.
 *
 * @throws {WorkflowError} `workflow_format_ui` for a workflow as the page saves it, else `invalid_workflow`
 * with the node and input of the first problem.
 */
export function parseApiWorkflow(value: unknown): ApiWorkflow {
  if (isUiWorkflow(value)) {
    throw new WorkflowError(
      'workflow_format_ui',
      'This is a workflow as ComfyUI\'s page saves it (nodes and links). Export it with "Save (API Format)" and use that file.',
    );
  }
  const problem = firstProblem(value);
  if (problem !== undefined) throw toError(problem);
  // firstProblem has looked at every node, input and link.
  return value as ApiWorkflow;
}

/** Whether a value passes {@link parseApiWorkflow}. */
export function isApiWorkflow(value: unknown): value is ApiWorkflow {
  return !isUiWorkflow(value) && firstProblem(value) === undefined;
}

/** Whether a value looks like a workflow in UI format: lists of nodes and links. */
export function isUiWorkflow(value: unknown): boolean {
  return (
    isObject(value) &&
    Array.isArray(value['nodes']) &&
    (Array.isArray(value['links']) || 'last_node_id' in value || 'state' in value)
  );
}

function toError({ nodeId, input, message }: WorkflowProblem): WorkflowError {
  return new WorkflowError('invalid_workflow', message, {
    ...(nodeId === undefined ? {} : { nodeId }),
    ...(input === undefined ? {} : { input }),
  });
}

/** One pass over nodes, inputs and links; then one over the graph for cycles. */
function firstProblem(value: unknown): WorkflowProblem | undefined {
  if (!isObject(value))
    return problem('A workflow is an object of nodes by id, not ' + describe(value) + '.');
  const ids = Object.keys(value);
  if (ids.length === 0) return problem('The workflow has no nodes.');
  if (ids.length > MAXIMUM_NODES)
    return problem(`The workflow has ${ids.length} nodes; at most ${MAXIMUM_NODES} are accepted.`);
  let linked = false;
  for (const id of ids) {
    if (isForbidden(id)) return problem(`"${id}" is not allowed as a node id.`, id);
    const node = value[id];
    if (!isObject(node))
      return problem(`Node ${id} must be an object with class_type and inputs, not ${describe(node)}.`, id);
    if (typeof node['class_type'] !== 'string' || node['class_type'] === '') {
      return problem(`Node ${id} has no class_type.`, id);
    }
    const inputs = node['inputs'];
    if (!isObject(inputs)) return problem(`Node ${id} (${node['class_type']}) has no object of inputs.`, id);
    for (const name in inputs) {
      if (isForbidden(name)) {
        return problem(
          `Node ${id} (${node['class_type']}), input ${name}: this name is not allowed.`,
          id,
          name,
        );
      }
      const input = inputs[name];
      const kind = typeof input;
      if (kind === 'string' || kind === 'boolean') continue;
      if (kind === 'number') {
        if (Number.isFinite(input)) continue;
        return problem(
          `Node ${id} (${node['class_type']}), input ${name}: ${String(input)} is not a JSON number.`,
          id,
          name,
        );
      }
      if (isLink(input)) {
        linked = true;
        const found = linkProblem(value, input);
        if (found !== undefined)
          return problem(`Node ${id} (${node['class_type']}), input ${name}: ${found}`, id, name);
        continue;
      }
      const found = valueProblem(input);
      if (found !== undefined)
        return problem(`Node ${id} (${node['class_type']}), input ${name}: ${found}`, id, name);
    }
  }
  return linked ? cycleProblem(value as ApiWorkflow, ids) : undefined;
}

function linkProblem(nodes: Record<string, unknown>, [target, output]: Link): string | undefined {
  if (!Object.hasOwn(nodes, target)) return `it is linked to node ${target}, which does not exist.`;
  if (!Number.isInteger(output) || output < 0)
    return `output ${output} of node ${target} is not an output index (0, 1, …).`;
  return undefined;
}

/** Depth-first without recursion; a node met while it is still open closes a cycle. */
function cycleProblem(workflow: ApiWorkflow, ids: readonly string[]): WorkflowProblem | undefined {
  const OPEN = 1;
  const DONE = 2;
  const state = new Map<string, number>();
  const path: { readonly id: string; readonly sources: readonly string[]; next: number }[] = [];
  for (const start of ids) {
    if (state.has(start)) continue;
    state.set(start, OPEN);
    path.push({ id: start, sources: sourcesOf(workflow[start]), next: 0 });
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const source = top.sources[top.next++];
      if (source === undefined) {
        state.set(top.id, DONE);
        path.pop();
        continue;
      }
      const seen = state.get(source);
      if (seen === OPEN) return problem(`Node ${source} depends on itself through node ${top.id}.`, source);
      if (seen === DONE) continue;
      state.set(source, OPEN);
      path.push({ id: source, sources: sourcesOf(workflow[source]), next: 0 });
    }
  }
  return undefined;
}

function sourcesOf(node: ApiNode | undefined): string[] {
  const sources: string[] = [];
  if (node === undefined) return sources;
  for (const name in node.inputs) {
    const value = node.inputs[name];
    if (isLink(value)) sources.push(value[0]);
  }
  return sources;
}

function problem(message: string, nodeId?: string, input?: string): WorkflowProblem {
  return { message, nodeId, input };
}
