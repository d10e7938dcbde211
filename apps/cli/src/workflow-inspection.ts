/** What can be said of a workflow file. */
import {
  type ApiWorkflow,
  brokenInputs,
  type BrokenValue,
  deadNodes,
  inferInputs,
  inferOutputs,
  type InferredInput,
  type Inventory,
  type NodeMap,
  parseWorkflow,
  toApiWorkflow,
  workflowHash,
  WorkflowError,
} from '@ryla/workflow';
import { takeInventory } from '@ryla/workflow/node';

import type { Catalogue } from './workflow-files.ts';

/** A result of a workflow. */
export interface InspectedOutput {
  readonly name: string;
  readonly node: string;
  readonly class: string;
  readonly title: string;
  readonly type: string;
  readonly why: string;
}

/** What a workflow is made of. */
export interface WorkflowInspection extends Inventory {
  readonly format: 'api' | 'ui';
  /** SHA-256 of what it does; undefined where it cannot be converted. */
  readonly hash: string | undefined;
  readonly nodes: number;
  /** Nodes by class. */
  readonly classes: Readonly<Record<string, number>>;
  readonly inputs: readonly InferredInput[];
  readonly outputs: readonly InspectedOutput[];
  /** Values that are no inputs because the file holds something else there than the class declares. */
  readonly brokenInputs: readonly BrokenValue[];
  /** Nodes that no output depends on; ComfyUI never runs them. */
  readonly deadNodes: readonly string[];
  /** Why inputs, outputs and hash are not known: a class is missing. */
  readonly notConverted: string | undefined;
}

/**
 * Looks at a workflow in either format. One with classes that the catalogue lacks is inspected too, as far as its file
 * tells.
 *
 * @throws {WorkflowError} as `parseWorkflow` does, and `invalid_marker`.
 */
export async function inspectWorkflow(
  value: unknown,
  { classes, server }: Catalogue,
  nodeMap?: NodeMap,
): Promise<WorkflowInspection> {
  const parsed = parseWorkflow(value);
  const inventory = takeInventory(value, {
    ...(server === undefined ? {} : { server }),
    ...(nodeMap === undefined ? {} : { nodeMap }),
  });
  const { workflow, problem } = convert(value, classes);
  const names =
    workflow === undefined
      ? parsed.format === 'ui'
        ? parsed.workflow.nodes.map(({ type }) => type)
        : []
      : Object.values(workflow).map(({ class_type: name }) => name);
  return {
    format: parsed.format,
    hash: workflow === undefined ? undefined : await workflowHash(workflow),
    nodes: names.length,
    classes: counted(names),
    inputs: workflow === undefined ? [] : inferInputs(workflow, classes),
    outputs: workflow === undefined ? [] : outputsOf(workflow, classes),
    brokenInputs: workflow === undefined ? [] : brokenInputs(workflow, classes),
    deadNodes: workflow === undefined ? [] : deadNodes(workflow, classes),
    notConverted: problem,
    ...inventory,
  };
}

interface Conversion {
  readonly workflow?: ApiWorkflow;
  readonly problem?: string;
}

function convert(value: unknown, classes: Catalogue['classes']): Conversion {
  try {
    return { workflow: toApiWorkflow(value, classes) };
  } catch (error) {
    if (WorkflowError.isInstance(error) && error.code === 'unknown_class') return { problem: error.message };
    throw error;
  }
}

function outputsOf(workflow: ApiWorkflow, classes: Catalogue['classes']): InspectedOutput[] {
  return inferOutputs(workflow, classes).map(({ name, output: { node, type }, why }) => ({
    name,
    node,
    class: workflow[node]?.class_type ?? '',
    title: workflow[node]?._meta?.title ?? '',
    type,
    why,
  }));
}

function counted(names: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([a], [b]) => a.localeCompare(b)));
}
