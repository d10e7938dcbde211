export { adapterConformance, type ConformanceCase, type ConformanceTarget } from './adapter-conformance.ts';
export { type HttpStandIn, httpStandIn, json, type ReceivedRequest } from './http-stand-in.ts';
export { greyPng } from './png.ts';
export {
  memory,
  type MemoryAdapter,
  type MemoryOptions,
  type MemoryOutcome,
  type MemoryOutput,
  type MemorySubmission,
} from '../adapters/memory.ts';
export { comfyuiStandIn, type ComfyUIStandIn, type ComfyUIStandInOptions } from './comfyui-stand-in.ts';
export { generateImageStandIn, type GenerateImageStandInOptions } from './generate-image-stand-in.ts';
export { authorizingProxy, type AuthorizingProxy } from './authorizing-proxy.ts';
export { comfyApiStandIn, type ComfyApiStandInOptions } from './comfy-api-stand-in.ts';
export { runcomfyStandIn, type RunComfyStandInOptions } from './runcomfy-stand-in.ts';
export { runpodStandIn, type RunPodStandInOptions } from './runpod-stand-in.ts';
export { type JobStoreCase, jobStoreConformance, type JobStoreTarget } from './job-store-conformance.ts';
export { ManualClock, manualClock, type ManualClockOptions } from './manual-clock.ts';
export { findPostgres, type PostgresServer, startPostgres } from './postgres-server.ts';
