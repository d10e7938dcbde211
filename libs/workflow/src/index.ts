export {
  type ApiNode,
  type ApiWorkflow,
  isApiWorkflow,
  isLink,
  isUiWorkflow,
  type Json,
  type Link,
  MAXIMUM_DEPTH,
  MAXIMUM_NODES,
  parseApiWorkflow,
  type WorkflowProblem,
} from './api-workflow.ts';
export { applyInputs, type AppliedInputs, parseInputText, type StagedFile } from './apply-inputs.ts';
export {
  endpointConfig,
  type EndpointConfig,
  endpointInput,
  type EndpointInput,
  endpointJsonSchema,
  GPUS,
  parseEndpointConfig,
  SCALEDOWN_SECONDS,
  TIMEOUT_SECONDS,
} from './endpoint-config.ts';
export type {
  EndpointDefinition,
  FileInput,
  InputsOf,
  InputValue,
  InputValues,
  OutputKind,
} from './endpoint-definition.ts';
export { WorkflowError, type WorkflowErrorCode } from './workflow-error.ts';
