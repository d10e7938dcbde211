import { type ApiWorkflow, isUiWorkflow, parseApiWorkflow } from './api-workflow.ts';
import { parseUiWorkflow, type UiWorkflow } from './ui-workflow.ts';

/** A workflow and the format it is in. */
export type ParsedWorkflow =
  | { readonly format: 'api'; readonly workflow: ApiWorkflow }
  | { readonly format: 'ui'; readonly workflow: UiWorkflow };

/**
 * Checks a workflow in either format and says which it is. The workflow returned is the value itself.
 *
 * @throws {WorkflowError} `invalid_workflow` with the node and input of the first problem and what was expected.
 */
export function parseWorkflow(value: unknown): ParsedWorkflow {
  return isUiWorkflow(value)
    ? { format: 'ui', workflow: parseUiWorkflow(value) }
    : { format: 'api', workflow: parseApiWorkflow(value) };
}
