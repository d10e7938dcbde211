import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';

import {
  type ApiWorkflow,
  brokenInputs,
  type BrokenValue,
  type NodeMap,
  type ObjectInfo,
  parseWorkflow,
  toApiWorkflow,
  validateWorkflow,
  type ValidationProblem,
  WorkflowError,
} from '@ryla/workflow';
import { takeInventory } from '@ryla/workflow/node';

import { userPath } from './user-path.ts';

/** Largest workflow file that is read, in bytes: what the gateway takes (docs/gateway.md). */
export const LARGEST_WORKFLOW = 8 * 1024 * 1024;

/** A workflow file, read and converted. */
export interface WorkflowSource {
  /** Name of the file. */
  readonly name: string;
  /** The file, byte for byte. */
  readonly bytes: Buffer;
  /** Its content, in either format. */
  readonly original: unknown;
  /** In API format. */
  readonly workflow: ApiWorkflow;
  /** What a ComfyUI of the catalogue would refuse; not unknown classes and lacking outputs, which are errors. */
  readonly problems: readonly ValidationProblem[];
  /** Values that are no inputs because the file holds something else there than the class declares. */
  readonly broken: readonly BrokenValue[];
}

/**
 * Reads the file of a workflow and converts it.
 *
 * @param given path as the user wrote it.
 * @param nodeMap tells where a class that is not known may come from.
 * @throws {WorkflowError} `invalid_workflow` where it is none, is too large or makes nothing; `unknown_class` with the
 * nodes whose class the object_info lacks.
 */
export async function readWorkflow(
  given: string,
  objectInfo: ObjectInfo,
  nodeMap?: NodeMap,
): Promise<WorkflowSource> {
  const bytes = await readBytes(given);
  const original = parseText(given, bytes);
  const workflow = converted(given, original, objectInfo, nodeMap);
  const problems = validateWorkflow(workflow, objectInfo, { files: 'unchecked' });
  refuseUnknown(given, original, problems.flatMap(unknownClass(workflow)), nodeMap);
  const fruitless = problems.find(({ code }) => code === 'prompt_no_outputs');
  if (fruitless !== undefined)
    throw new WorkflowError('invalid_workflow', `${given} makes nothing. ${fruitless.message}`);
  return {
    name: path.basename(given),
    bytes,
    original,
    workflow,
    problems,
    broken: brokenInputs(workflow, objectInfo),
  };
}

async function readBytes(given: string): Promise<Buffer> {
  const file = userPath(given);
  let size: number;
  try {
    const found = await stat(file);
    if (!found.isFile()) throw new WorkflowError('invalid_workflow', `${given} is not a file.`);
    ({ size } = found);
  } catch (cause) {
    if (WorkflowError.isInstance(cause)) throw cause;
    throw new WorkflowError('invalid_workflow', `${given} cannot be read: there is no such file.`, { cause });
  }
  if (size > LARGEST_WORKFLOW) {
    const mib = (size / 1024 / 1024).toFixed(1);
    throw new WorkflowError(
      'invalid_workflow',
      `${given} has ${mib} MiB. A workflow may have ${LARGEST_WORKFLOW / 1024 / 1024} MiB; pictures do not belong in it.`,
    );
  }
  return readFile(file);
}

function parseText(given: string, bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new WorkflowError(
      'invalid_workflow',
      `${given} is not a workflow: it is not JSON. In ComfyUI choose Save, or Export (API), and give that file.`,
      { cause },
    );
  }
}

function converted(
  given: string,
  original: unknown,
  objectInfo: ObjectInfo,
  nodeMap: NodeMap | undefined,
): ApiWorkflow {
  try {
    return toApiWorkflow(original, objectInfo);
  } catch (error) {
    if (!WorkflowError.isInstance(error)) throw error;
    if (error.code === 'unknown_class') refuseUnknown(given, original, error.classes, nodeMap);
    throw new WorkflowError(error.code, `${given}: ${error.message}`, { cause: error });
  }
}

function unknownClass(workflow: ApiWorkflow): (problem: ValidationProblem) => readonly string[] {
  return ({ code, nodeId }) => {
    const name = nodeId === undefined ? undefined : workflow[nodeId]?.class_type;
    return code === 'unknown_class' && name !== undefined ? [name] : [];
  };
}

/** Names each class that is not known, its nodes, and where it seems to come from. */
function refuseUnknown(
  given: string,
  original: unknown,
  classes: readonly string[],
  nodeMap: NodeMap | undefined,
): void {
  const unknown = [...new Set(classes)].sort();
  if (unknown.length === 0) return;
  const inventory = takeInventory(original, nodeMap === undefined ? {} : { nodeMap });
  const nodes = nodesByClass(original);
  const lines = unknown.map((name) => {
    const custom = inventory.customClasses.find(({ className }) => className === name);
    const from = custom === undefined ? 'a newer ComfyUI itself' : originOf(custom.source);
    return `  ${name} (${nodeList(nodes.get(name) ?? [])}): ${from}`;
  });
  throw new WorkflowError(
    'unknown_class',
    [
      `${given} has nodes that this catalogue of ComfyUI does not know:`,
      ...lines,
      'Give the classes of a ComfyUI that runs the workflow: --object-info=http://127.0.0.1:8188, or a file with what its /object_info answers.',
    ].join('\n'),
    { classes: unknown },
  );
}

function originOf(source: ReturnType<typeof takeInventory>['customClasses'][number]['source']): string {
  switch (source.kind) {
    case 'repository':
      return source.repository;
    case 'registry':
      return `the package ${source.registry.id} of the Comfy registry`;
    case 'ambiguous':
      return `one of ${source.candidates.join(', ')}`;
    case 'unknown':
      return 'nobody is known to have it';
  }
}

/** Node ids by class; inside a subgraph with the subgraph's name. */
function nodesByClass(original: unknown): ReadonlyMap<string, readonly string[]> {
  const parsed = parseWorkflow(original);
  const found = new Map<string, string[]>();
  const add = (name: string, id: string) => found.set(name, [...(found.get(name) ?? []), id]);
  if (parsed.format === 'api') {
    for (const [id, node] of Object.entries(parsed.workflow)) add(node.class_type, id);
    return found;
  }
  for (const node of parsed.workflow.nodes) add(node.type, String(node.id));
  for (const subgraph of parsed.workflow.definitions?.subgraphs ?? []) {
    for (const node of subgraph.nodes) add(node.type, `${node.id} in ${subgraph.name ?? subgraph.id}`);
  }
  return found;
}

function nodeList(ids: readonly string[]): string {
  return `${ids.length === 1 ? 'node' : 'nodes'} ${ids.join(', ')}`;
}
