/** RunPod's management API, typed, and serverless endpoints as code: plan and apply. */
export {
  type Adoption,
  adoptRunpod,
  parseEndpoint,
  planAdoption,
  restoreRunpod,
  secretDocument,
  unmanagedEndpoint,
} from './adoption.ts';
export { type AppliedEntry, type ApplyOptions, type ApplyReport, applyRunpod } from './apply.ts';
export {
  ATTEMPTS,
  type BillingWindow,
  type CallOptions,
  createRunPodManagement,
  LONGEST_RETRY_AFTER_MS,
  REQUEST_TIMEOUT_MS,
  RUNPOD_MANAGEMENT_URL,
  type RunPodManagement,
  type RunPodManagementOptions,
} from './client.ts';
export {
  type DesiredEndpoint,
  type DesiredOptions,
  desiredRunpodEndpoint,
  type EndpointForRunPod,
  MAIN_ENVIRONMENT,
} from './desired-endpoint.ts';
export type { ChangeEffect, FieldChange } from './endpoint-diff.ts';
export { EnvironmentVariables, referencedSecret, secretReference } from './environment-variables.ts';
export { GPU_POOLS, poolsFor, type PoolSelection } from './gpu-pools.ts';
export { type LiveState, readRunpodEndpoints, readRunpodLive } from './live-state.ts';
export { type Ownership, ownershipOf } from './ownership.ts';
export {
  deployedEndpoint,
  hasChanges,
  orphansOf,
  type PlanEntry,
  type PlanOptions,
  planRunpod,
  planRunpodRemoval,
  type RunPodPlan,
} from './plan.ts';
export { describeRunpodPlan } from './plan-text.ts';
export { rollBackRunpod } from './rollback.ts';
export { ROLLOUT_POLL_MS, type RolloutOptions, waitForRollout } from './rollout.ts';
export {
  RUNPOD_ERROR_CODES,
  type RunPodErrorCode,
  type RunPodErrorContext,
  RunPodManagementError,
} from './runpod-error.ts';
export type {
  EndpointCreation,
  EndpointUpdate,
  RunPodEndpoint,
  RunPodGpuType,
  RunPodNetworkVolume,
  RunPodNetworkVolumeBilling,
  RunPodPod,
  RunPodReleases,
  RunPodScaling,
  RunPodServerlessBilling,
  RunPodTemplate,
} from './schemas.ts';
export {
  MANAGED_BY,
  OWN_VARIABLES,
  type RunPodSettings,
  runpodSettings,
  type RunPodSettingsInput,
} from './settings.ts';
export { VOLUME_PRICES, volumeUsdPerMonth } from './volume-prices.ts';
export { MOST_LOG_LINES, QUIET_MS, type WorkerLogLine, type WorkerLogOptions } from './worker-logs.ts';
export { type RunPodWorker, type RunPodWorkers, WORKER_STATES } from './workers.ts';
