/** Stable codes of {@link RunPodManagementError}; docs/runpod-as-code.md says what to do about each. */
export const RUNPOD_ERROR_CODES = [
  'ambiguous_endpoint',
  'endpoint_not_found',
  'forbidden',
  'image_not_pinned',
  'immutable_field',
  'invalid_request',
  'invalid_response',
  'invalid_settings',
  'not_applied',
  'not_found',
  'plan_stale',
  'rate_limited',
  'server_error',
  'template_not_found',
  'timed_out',
  'unauthorized',
  'unknown_gpu',
  'unknown_network_volume',
  'unmanaged_endpoint',
  'unreachable',
] as const;

/** One of {@link RUNPOD_ERROR_CODES}. */
export type RunPodErrorCode = (typeof RUNPOD_ERROR_CODES)[number];

/** Where an error happened, and what is known of it. */
export interface RunPodErrorContext {
  /** Operation of RunPod's document, such as `createEndpoint`. */
  readonly operation?: string | undefined;
  /** HTTP status of the answer. */
  readonly status?: number | undefined;
  /** The answer's `x-request-id`, for RunPod's support. */
  readonly requestId?: string | undefined;
  /** Name of the endpoint in the repository. */
  readonly endpoint?: string | undefined;
  /** What to do next. */
  readonly hint?: string | undefined;
  /** Whether the same call may succeed later. */
  readonly retryable?: boolean | undefined;
  /** Milliseconds after which RunPod asked to try again. */
  readonly retryAfterMs?: number | undefined;
  /** Whether a write was done: `no` is certain, `unknown` must be looked up before it is sent again. */
  readonly accepted?: 'no' | 'unknown' | undefined;
  readonly cause?: unknown;
}

const MARKER = Symbol.for('ryla.runpod-management.error');

/** Everything that this library rejects with, except an AbortSignal's own reason. Never holds the API key. */
export class RunPodManagementError extends Error {
  readonly [MARKER] = true;
  readonly code: RunPodErrorCode;
  readonly operation: string | undefined;
  readonly status: number | undefined;
  readonly requestId: string | undefined;
  readonly endpoint: string | undefined;
  readonly hint: string | undefined;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly accepted: 'no' | 'unknown' | undefined;

  constructor(code: RunPodErrorCode, message: string, context: RunPodErrorContext = {}) {
    super(
      context.hint === undefined ? message : `${message} ${context.hint}`,
      context.cause === undefined ? undefined : { cause: context.cause },
    );
    this.name = 'RunPodManagementError';
    this.code = code;
    this.operation = context.operation;
    this.status = context.status;
    this.requestId = context.requestId;
    this.endpoint = context.endpoint;
    this.hint = context.hint;
    this.retryable = context.retryable ?? false;
    this.retryAfterMs = context.retryAfterMs;
    this.accepted = context.accepted;
  }

  /** Recognises the error across copies of this package. */
  static isInstance(value: unknown): value is RunPodManagementError {
    return value instanceof Error && MARKER in value;
  }
}
