export {
  type ApiNode,
  type ApiNodeMeta,
  type ApiWorkflow,
  isApiWorkflow,
  isLink,
  isUiWorkflow,
  type Link,
  MAXIMUM_NODES,
  parseApiWorkflow,
  type WorkflowProblem,
} from './api-workflow.ts';
export { canonicalWorkflow, printWorkflow, workflowHash } from './canonical-workflow.ts';
export {
  convertUiWorkflow,
  type ConvertOptions,
  MAXIMUM_SUBGRAPH_DEPTH,
  toApiWorkflow,
} from './convert/ui-to-api.ts';
export { applyInputs, type AppliedInputs, parseInputText, type StagedFile } from './apply-inputs.ts';
export {
  endpointConfig,
  type EndpointConfig,
  endpointInput,
  type EndpointInput,
  endpointJsonSchema,
  parseEndpointConfig,
} from './endpoint-config.ts';
export {
  customNode,
  type CustomNode,
  customNodePackage,
  customNodePin,
  isSamePackage,
  type RegistryNode,
  registryPin,
} from './custom-node.ts';
export { environmentOverrides, inEnvironment } from './endpoint-deployment.ts';
export { runpodProvider, runpodVariables } from './runpod-provider.ts';
export { GPUS, type Limit, SCALEDOWN_SECONDS, TIMEOUT_SECONDS } from './modal-limits.ts';
export type {
  EndpointDefinition,
  FileInput,
  InputsOf,
  InputValue,
  InputValues,
  OutputKind,
} from './endpoint-definition.ts';
export { ancestorsOf, deadNodes, findCycle, linksOf, outputNodes } from './graph-queries.ts';
export {
  brokenInputs,
  endpointInputs,
  type InferOptions,
  inferInputs,
  type InferredInput,
} from './inference/infer-inputs.ts';
export { endpointOutputs, inferOutputs, type InferredOutput } from './inference/infer-outputs.ts';
export type { BrokenValue } from './inference/broken-values.ts';
export type { InputKind } from './inference/input-kind.ts';
export { TIGHTER_MAXIMA } from './inference/typed-input.ts';
export { type Json, type JsonObject, MAXIMUM_DEPTH } from './json-value.ts';
export {
  type DeclaredInput,
  findClass,
  type InputDeclaration,
  inputsOf,
  type NodeClass,
  type ObjectInfo,
  parseObjectInfo,
} from './object-info.ts';
export type { CustomClass, NodeSource, RegistryVersion } from './inventory/custom-nodes.ts';
export type { ComfyuiVersion } from './inventory/comfyui-version.ts';
export {
  type Determinism,
  type DeterminismClass,
  determinismOf,
  samplerDeterminism,
} from './inventory/determinism.ts';
export { type GpuEstimate, gpuEstimate, type WorkflowTraits } from './inventory/gpu-estimate.ts';
export { type Inventory, inventoryOf, type InventoryOptions } from './inventory/inventory.ts';
export type { ModelReference } from './inventory/model-files.ts';
export { EMPTY_NODE_MAP, type MapCandidate, type NodeMap, parseNodeMap } from './inventory/node-map.ts';
export type { PartnerNode } from './inventory/partner-nodes.ts';
export { type WeightEstimate, weightEstimates } from './inventory/weight-estimate.ts';
export { type ParsedWorkflow, parseWorkflow } from './parse-workflow.ts';
export type { HighlightedInputs } from './picture/picture-graph.ts';
export { type PictureOptions, workflowPicture } from './picture/workflow-picture.ts';
export {
  parseUiWorkflow,
  type UiInput,
  type UiLinkObject,
  type UiLinkTuple,
  type UiNode,
  type UiNodeId,
  type UiOutput,
  type UiSlotType,
  type UiSubgraph,
  type UiSubgraphSlot,
  type UiWorkflow,
} from './ui-workflow.ts';
export {
  type ValidateOptions,
  validateWorkflow,
  type ValidationCode,
  type ValidationProblem,
} from './validate-workflow.ts';
export { diffWorkflows, type WorkflowChange } from './workflow-diff.ts';
export { WorkflowError, type WorkflowErrorCode } from './workflow-error.ts';
