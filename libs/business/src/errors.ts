/** Stable codes of {@link ComfyUIServiceError}; docs/errors.md says what each means. */
export const ERROR_CODES = [
  'aborted',
  'already_claimed',
  'backend_error',
  'backend_unavailable',
  'backend_unreachable',
  'canceled',
  'engine_crashed',
  'engine_unavailable',
  'idempotency_conflict',
  'invalid_configuration',
  'invalid_input',
  'invalid_input_file',
  'invalid_response',
  'invalid_workflow',
  'job_lost',
  'job_not_found',
  'missing_input',
  'missing_models',
  'node_execution_error',
  'not_supported',
  'out_of_memory',
  'output_missing',
  'output_too_large',
  'output_truncated',
  'payload_too_large',
  'rate_limited',
  'result_expired',
  'service_closed',
  'spend_limit_reached',
  'store_error',
  'store_unavailable',
  'submission_unknown',
  'timed_out',
  'unauthorized',
  'unknown_backend',
  'unknown_input',
  'unknown_job',
  'untrusted_url',
  'worker_lost',
] as const;

/** One of {@link ERROR_CODES}. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Whether a text is one of {@link ERROR_CODES}. */
export function isErrorCode(text: string): text is ErrorCode {
  return ERROR_CODES.some((code) => code === text);
}

/** Where an error happened, and what is known of it. */
export interface ErrorContext {
  readonly jobId?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly backend?: string | undefined;
  readonly nodeId?: string | undefined;
  readonly classType?: string | undefined;
  readonly details?: unknown;
  readonly hint?: string | undefined;
  readonly retryable?: boolean | undefined;
  /** Milliseconds after which the backend asked to try again. */
  readonly retryAfterMs?: number | undefined;
  /** Whether a submission was taken: `no` may be sent again, `unknown` must not be without a look-up. */
  readonly accepted?: 'no' | 'unknown' | undefined;
  readonly cause?: unknown;
}

const MARKER = Symbol.for('ryla.business.error');

/** Everything that the service rejects with. */
export class ComfyUIServiceError extends Error {
  readonly [MARKER] = true;
  readonly code: ErrorCode;
  readonly jobId: string | undefined;
  readonly endpoint: string | undefined;
  readonly backend: string | undefined;
  readonly nodeId: string | undefined;
  readonly classType: string | undefined;
  readonly details: unknown;
  /** What to do next, where something can be done. */
  readonly hint: string | undefined;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly accepted: 'no' | 'unknown' | undefined;

  constructor(code: ErrorCode, message: string, context: ErrorContext = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.name = 'ComfyUIServiceError';
    this.code = code;
    this.jobId = context.jobId;
    this.endpoint = context.endpoint;
    this.backend = context.backend;
    this.nodeId = context.nodeId;
    this.classType = context.classType;
    this.details = context.details;
    this.hint = context.hint;
    this.retryable = context.retryable ?? false;
    this.retryAfterMs = context.retryAfterMs;
    this.accepted = context.accepted;
  }

  /** Recognises the error across copies of this package. */
  static isInstance(value: unknown): value is ComfyUIServiceError {
    return value instanceof Error && MARKER in value;
  }

  /** The same error with more of its context filled in; what is known already stays. */
  within(context: ErrorContext): ComfyUIServiceError {
    return this.with({
      jobId: this.jobId ?? context.jobId,
      endpoint: this.endpoint ?? context.endpoint,
      backend: this.backend ?? context.backend,
    });
  }

  /** The same error with these parts of its context in place of its own. */
  with(changes: ErrorContext): ComfyUIServiceError {
    return new ComfyUIServiceError(this.code, this.message, {
      jobId: this.jobId,
      endpoint: this.endpoint,
      backend: this.backend,
      nodeId: this.nodeId,
      classType: this.classType,
      details: this.details,
      hint: this.hint,
      retryable: this.retryable,
      retryAfterMs: this.retryAfterMs,
      accepted: this.accepted,
      cause: this.cause,
      ...changes,
    });
  }
}
