/** What can be said of a workflow file. What libs/workflow learns (inputs, nodes' origins, a GPU) is added here. */
import {
  type ApiWorkflow,
  deadNodes,
  findClass,
  isUiWorkflow,
  type ObjectInfo,
  outputNodes,
  toApiWorkflow,
  workflowHash,
} from '@ryla/workflow';

/** A file of a model that a node loads. */
export interface InspectedModel {
  readonly node: string;
  readonly class: string;
  readonly input: string;
  readonly file: string;
}

/** What a workflow is made of. */
export interface WorkflowInspection {
  readonly format: 'api' | 'ui';
  /** SHA-256 of what it does. */
  readonly hash: string;
  readonly nodes: number;
  /** Nodes by class. */
  readonly classes: Readonly<Record<string, number>>;
  /** Classes that the catalogue lacks: of custom nodes, or misspelt. */
  readonly unknownClasses: readonly string[];
  readonly outputs: readonly { readonly node: string; readonly class: string; readonly title: string }[];
  /** Nodes that no output depends on; ComfyUI never runs them. */
  readonly deadNodes: readonly string[];
  readonly models: readonly InspectedModel[];
}

/** Names of files with weights. */
const WEIGHTS = /\.(?:safetensors|sft|ckpt|pt2?|pth|bin|pkl|gguf|onnx)$/i;

/**
 * Looks at a workflow in either format.
 *
 * @throws {WorkflowError} as `toApiWorkflow` does.
 */
export async function inspectWorkflow(value: unknown, catalogue: ObjectInfo): Promise<WorkflowInspection> {
  const workflow = toApiWorkflow(value, catalogue);
  const counts = new Map<string, number>();
  for (const { class_type: name } of Object.values(workflow)) counts.set(name, (counts.get(name) ?? 0) + 1);
  const classes = [...counts].sort(([a], [b]) => a.localeCompare(b));
  return {
    format: isUiWorkflow(value) ? 'ui' : 'api',
    hash: await workflowHash(workflow),
    nodes: Object.keys(workflow).length,
    classes: Object.fromEntries(classes),
    unknownClasses: classes.flatMap(([name]) => (findClass(catalogue, name) === undefined ? [name] : [])),
    outputs: outputNodes(workflow, catalogue).map((node) => ({
      node,
      class: workflow[node]?.class_type ?? '',
      title: workflow[node]?._meta?.title ?? '',
    })),
    deadNodes: deadNodes(workflow, catalogue),
    models: modelsOf(workflow),
  };
}

function modelsOf(workflow: ApiWorkflow): InspectedModel[] {
  return Object.entries(workflow).flatMap(([node, { class_type: name, inputs }]) =>
    Object.entries(inputs).flatMap(([input, file]) =>
      typeof file === 'string' && WEIGHTS.test(file) ? [{ node, class: name, input, file }] : [],
    ),
  );
}
