/** What a job changes in the workflow that is saved with a RunComfy deployment. */
import { isDeepStrictEqual } from 'node:util';

import type { ApiWorkflow, Json } from '@ryla/workflow';

import { ComfyUIServiceError } from '../errors.ts';

/** Changed inputs by node, as the API takes them. */
export type Overrides = Readonly<Record<string, { readonly inputs: Readonly<Record<string, Json>> }>>;

/**
 * The inputs of a job's workflow that differ from the saved one.
 *
 * @throws {ComfyUIServiceError} `invalid_workflow` (`accepted: 'no'`), naming the node, where the two differ in more than
 *   values of inputs: overrides can neither add nor remove a node or an input.
 */
export function overridesOf(saved: ApiWorkflow, workflow: ApiWorkflow): Overrides {
  const changed: Record<string, { inputs: Record<string, Json> }> = {};
  for (const nodeId of Object.keys(saved))
    if (workflow[nodeId] === undefined) throw other(nodeId, 'is not in the job');
  for (const [nodeId, node] of Object.entries(workflow)) {
    const base = saved[nodeId];
    if (base === undefined) throw other(nodeId, 'is not in the deployment');
    if (base.class_type !== node.class_type)
      throw other(nodeId, `is ${node.class_type} in the job, ${base.class_type} in the deployment`);
    for (const name of Object.keys(base.inputs))
      if (!Object.hasOwn(node.inputs, name)) throw other(nodeId, `has no input ${name} in the job`);
    for (const [name, value] of Object.entries(node.inputs)) {
      if (!Object.hasOwn(base.inputs, name)) throw other(nodeId, `has no input ${name} in the deployment`);
      if (isDeepStrictEqual(base.inputs[name], value)) continue;
      (changed[nodeId] ??= { inputs: {} }).inputs[name] = value;
    }
  }
  return changed;
}

function other(nodeId: string, difference: string): ComfyUIServiceError {
  return new ComfyUIServiceError(
    'invalid_workflow',
    `The job is not of the workflow that is saved with the RunComfy deployment: node ${nodeId} ${difference}.`,
    {
      nodeId,
      accepted: 'no',
      hint: 'Save the present workflow with the deployment, or send whole workflows.',
    },
  );
}
