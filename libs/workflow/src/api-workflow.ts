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

/**
 * One pass over nodes, inputs and links. A circle needs a link to a node that comes later in the file; only where there
 * is one are circles looked for.
 */
function firstProblem(value: unknown): WorkflowProblem | undefined {
  if (!isObject(value))
    return problem('A workflow is an object of nodes by id, not ' + describe(value) + '.');
  const ids = Object.keys(value);
  if (ids.length === 0) return problem('The workflow has no nodes.');
  if (ids.length > MAXIMUM_NODES)
    return problem(`The workflow has ${ids.length} nodes; at most ${MAXIMUM_NODES} are accepted.`);
  const places = new Map<string, number>();
  for (let place = 0; place < ids.length; place += 1) places.set(ids[place] ?? '', place);
  const graph: PlacedLinks = { sources: [], ends: new Int32Array(ids.length) };
  let leadsOn = false;
  for (let place = 0; place < ids.length; place += 1) {
    const id = ids[place] ?? '';
    if (isForbidden(id)) return problem(`"${id}" is not allowed as a node id.`, id);
    const node = value[id];
    if (!isObject(node))
      return problem(`Node ${id} must be an object with class_type and inputs, not ${describe(node)}.`, id);
    const name = node['class_type'];
    if (typeof name !== 'string' || name === '') return problem(`Node ${id} has no class_type.`, id);
    const inputs = node['inputs'];
    if (!isObject(inputs)) return problem(`Node ${id} (${name}) has no object of inputs.`, id);
    for (const input in inputs) {
      if (isForbidden(input)) return inputProblem(id, name, input, 'this name is not allowed.');
      const given = inputs[input];
      if (typeof given === 'string' || typeof given === 'boolean') continue;
      // Infinity and NaN are all that give no 0; Number.isFinite takes longer than the rest of the look at an input.
      if (typeof given === 'number' && given * 0 === 0) continue;
      if (isLink(given)) {
        const source = places.get(given[0]);
        if (source === undefined || !isOutput(given[1]))
          return inputProblem(id, name, input, linkProblem(given, source !== undefined));
        if (source >= place) leadsOn = true;
        graph.sources.push(source);
        continue;
      }
      const found = valueProblem(given);
      if (found !== undefined) return inputProblem(id, name, input, found);
    }
    graph.ends[place] = graph.sources.length;
  }
  return leadsOn ? cycleProblem(ids, graph) : undefined;
}

/** Nodes by their place in the file: those that each is linked to, one node after another, and where each one's end. */
interface PlacedLinks {
  readonly sources: number[];
  readonly ends: Int32Array;
}

function inputProblem(id: string, className: string, input: string, found: string): WorkflowProblem {
  return problem(`Node ${id} (${className}), input ${input}: ${found}`, id, input);
}

function linkProblem([target, output]: Link, exists: boolean): string {
  return exists
    ? `output ${output} of node ${target} is not an output index (0, 1, …).`
    : `it is linked to node ${target}, which does not exist.`;
}

function isOutput(output: number): boolean {
  return output >= 0 && Number.isInteger(output);
}

/** Depth-first without recursion; a node met while it is still open closes a circle. */
function cycleProblem(ids: readonly string[], { sources, ends }: PlacedLinks): WorkflowProblem | undefined {
  const OPEN = 1;
  const DONE = 2;
  const next = new Int32Array(ids.length);
  next.set(ends.subarray(0, -1), 1);
  const state = new Uint8Array(ids.length);
  const path = new Int32Array(ids.length);
  for (let start = 0; start < ids.length; start += 1) {
    if (state[start] === DONE) continue;
    state[start] = OPEN;
    path[0] = start;
    for (let depth = 0; depth >= 0;) {
      const top = path[depth] ?? 0;
      const link = next[top] ?? 0;
      if (link === ends[top]) {
        state[top] = DONE;
        depth -= 1;
        continue;
      }
      next[top] = link + 1;
      const source = sources[link] ?? 0;
      if (state[source] === OPEN) {
        const [from, through] = [ids[source], ids[top]];
        return problem(`Node ${from ?? ''} depends on itself through node ${through ?? ''}.`, from);
      }
      if (state[source] === DONE) continue;
      state[source] = OPEN;
      depth += 1;
      path[depth] = source;
    }
  }
  return undefined;
}

function problem(message: string, nodeId?: string, input?: string): WorkflowProblem {
  return { message, nodeId, input };
}
