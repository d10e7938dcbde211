export type { Adapter, AdapterEvent, CallOptions, ProviderRef } from './adapter.ts';
export { comfyApi, type ComfyApiOptions } from './adapters/comfy-api.ts';
export { modal, type ModalAuth, type ModalOptions } from './adapters/modal.ts';
export { runpod, RUNPOD_API_URL, type RunPodOptions } from './adapters/runpod.ts';
export { RUNPOD_LIMITS } from './adapters/runpod-limits.ts';
export { ComfyUIServiceError, type ErrorCode, type ErrorContext } from './errors.ts';
export { createHttpClient, type HttpClient, type HttpRequest } from './http.ts';
export {
  isTerminal,
  type JobEvent,
  type JobFile,
  type JobProgress,
  type JobResult,
  type JobSnapshot,
  type JobStatus,
  type JobSubmission,
  type JobTimings,
} from './job.ts';
export { JobOutput, type OutputDescription, type ReadOptions } from './output.ts';
export { type Clock, systemClock } from './retry.ts';
export {
  type BareWorkflow,
  type ComfyUIService,
  type ComfyUIServiceOptions,
  createComfyUIService,
  type JobHandle,
  type SubmitOptions,
  type WaitOptions,
} from './services/comfyui-service.ts';
