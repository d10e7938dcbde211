export type { Adapter, AdapterEvent, CallOptions, ProviderRef } from './adapter.ts';
export { COMFY_API_UPLOAD_BYTES, comfyApi, type ComfyApiOptions } from './adapters/comfy-api.ts';
export { comfyui, COMFYUI_UPLOAD_BYTES, type ComfyUIOptions } from './adapters/comfyui.ts';
export { generateImage, type GenerateImageOptions } from './adapters/generate-image.ts';
export { modal, type ModalAuth, type ModalOptions } from './adapters/modal.ts';
export {
  runcomfy,
  RUNCOMFY_API_URL,
  RUNCOMFY_INLINE_BYTES,
  RUNCOMFY_RETENTION_MS,
  type RunComfyOptions,
} from './adapters/runcomfy.ts';
export { runpod, RUNPOD_API_URL, type RunPodOptions } from './adapters/runpod.ts';
export { RUNPOD_LIMITS } from './adapters/runpod-limits.ts';
export { ComfyUIServiceError, ERROR_CODES, type ErrorCode, type ErrorContext } from './errors.ts';
export type { FileContent } from './file-content.ts';
export {
  createHttpClient,
  type HttpBody,
  type HttpClient,
  type HttpClientOptions,
  type HttpRequest,
  type HttpResponse,
} from './http.ts';
export { type InputBucket, s3InputBucket, type S3InputBucketOptions } from './input-bucket.ts';
export {
  isTerminal,
  type JobEvent,
  type JobFile,
  type JobMetrics,
  type JobProgress,
  type JobResult,
  type JobSnapshot,
  type JobStatus,
  type JobSubmission,
  type JobTimings,
} from './job.ts';
export { JobOutput, MAXIMUM_OUTPUT_BYTES, type OutputDescription, type ReadOptions } from './output.ts';
export {
  BREAKER,
  type BreakerState,
  type CircuitBreaker,
  type CircuitBreakerOptions,
  createCircuitBreaker,
} from './policy/circuit-breaker.ts';
export {
  costOf,
  dearestCostOf,
  type JobUsage,
  MODAL_PRICES,
  parsePriceTable,
  type PriceTable,
  RUNPOD_PRICES,
} from './policy/costs.ts';
export { ExecutionHistory, HISTORY_LENGTH, QUANTILES } from './policy/execution-history.ts';
export { classOf, type ErrorClass, type Operation } from './policy/operation.ts';
export { canonicalJson, type HashedFile, type JobPayload, payloadHash } from './policy/payload-hash.ts';
export {
  type Look,
  PollScheduler,
  type PollSchedulerOptions,
  type WatchListener,
  type WatchOptions,
} from './policy/poll-scheduler.ts';
export { MODAL_RATE_LIMITS, RUNPOD_RATE_LIMITS } from './policy/provider-limits.ts';
export {
  type Attempt,
  createRateLimiter,
  type Permit,
  type RateLimiter,
  type RateLimiterOptions,
  type RateLimits,
} from './policy/rate-limiter.ts';
export type { RateLimit } from './policy/request-window.ts';
export {
  createRetryBudget,
  RETRY_BUDGET,
  type RetryBudget,
  type RetryBudgetOptions,
} from './policy/retry-budget.ts';
export {
  BACKOFF,
  createRetryPolicy,
  decideRetry,
  RETRY_RULES,
  type RetryDecision,
  type RetryNotice,
  type RetryPolicy,
  type RetryPolicyOptions,
  type RetryRule,
} from './policy/retry-policy.ts';
export {
  assignBuckets,
  bucketOf,
  BUCKETS,
  createRoutes,
  type Route,
  type Routes,
  type RouteTable,
  type RouteTarget,
  tryOrder,
} from './policy/routes.ts';
export {
  createSpendLimit,
  type Reservation,
  type SpendLimit,
  type SpendLimitOptions,
  spentIn,
} from './policy/spend-limit.ts';
export { type Clock, systemClock } from './clock.ts';
export {
  type BareWorkflow,
  type ComfyUIService,
  type ComfyUIServiceOptions,
  createComfyUIService,
  type JobHandle,
  type JobReference,
  QUIET_TAG,
  type ServiceHealth,
  type SubmitOptions,
  type WaitOptions,
  type WebhookOptions,
} from './services/comfyui-service.ts';
export { type ArtifactStore, directoryArtifacts } from './services/artifacts.ts';
export { changeJob, type JobChange, spentSince } from './store/change-job.ts';
export {
  FINAL_STATUSES,
  hasEnded,
  type JobCost,
  type JobIntent,
  type JobPatch,
  type JobRecord,
  type JsonValue,
  type StoredError,
  type StoredJobStatus,
  type StoredOutput,
  type StoredTimings,
  type SubmissionState,
} from './store/job-record.ts';
export type {
  CostSum,
  Delivery,
  DeliveryOutcome,
  DurationQuantiles,
  JobFilter,
  JobPage,
  JobStore,
  Lease,
  NewDelivery,
  Pruned,
  StateEntry,
} from './store/job-store.ts';
export type { Refusal, Transition } from './store/job-transition.ts';
export { memoryJobStore, type MemoryJobStoreOptions } from './store/memory-job-store.ts';
export { sqliteJobStore, type SqliteJobStoreOptions } from './store/sqlite-job-store.ts';
export { JobStoreError, type JobStoreErrorCode } from './store/store-error.ts';
