import { ComfyUIServiceError } from '../errors.ts';

/** What the service asks of a backend, as limits and retries tell it apart. */
export type Operation =
  'submit' | 'lookup' | 'status' | 'events' | 'cancel' | 'upload' | 'download' | 'health';

/**
 * What an error says about the backend:
 *
 * - `aborted`: somebody stopped waiting; nothing about the backend.
 * - `throttled`: it is well and wants fewer requests.
 * - `unreachable`: no answer came.
 * - `server`: it answered that it is in trouble.
 * - `malformed`: what came is no answer.
 * - `open`: it was not asked, because its circuit breaker is open.
 * - `final`: it is well and the same call would fail again: the caller's mistake, or the job's own end.
 */
export type ErrorClass = 'aborted' | 'throttled' | 'unreachable' | 'server' | 'malformed' | 'open' | 'final';

/** Sorts an error that an adapter rejected with. Errors that are not the service's are `final`: they are bugs. */
export function classOf(error: unknown): ErrorClass {
  if (error instanceof Error && (error.name === 'AbortError' || error.name === 'TimeoutError'))
    return 'aborted';
  if (!ComfyUIServiceError.isInstance(error)) return 'final';
  switch (error.code) {
    case 'aborted':
    case 'service_closed':
      return 'aborted';
    case 'rate_limited':
      return 'throttled';
    case 'backend_unreachable':
      return 'unreachable';
    case 'backend_unavailable':
      return 'open';
    case 'invalid_response':
      return error.retryable ? 'malformed' : 'final';
    default:
      return error.retryable ? 'server' : 'final';
  }
}
