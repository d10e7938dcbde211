import { ComfyUIServiceError } from '../errors.ts';
import type { Clock } from '../clock.ts';
import { onAbort } from './on-abort.ts';
import { classOf, type ErrorClass, type Operation } from './operation.ts';
import type { RetryBudget } from './retry-budget.ts';

/** How one operation is repeated. */
export interface RetryRule {
  /** Errors after which it is sent again. */
  readonly on: readonly ErrorClass[];
  /** Attempts, the first one included. */
  readonly attempts: number;
  /** Milliseconds for all attempts and the waits between them. */
  readonly deadlineMs: number;
}

/** What changes nothing at the backend may be repeated after anything that may pass. */
const READ = ['throttled', 'unreachable', 'server', 'malformed'] as const;

/**
 * What is repeated after what. Five attempts: within a minute, with {@link BACKOFF}. A submission is repeated only when
 * its error says in `accepted` that it was surely not taken; an answer that was lost is a question for `lookup`.
 * A cancellation waits for the circuit breaker, because the job goes on costing money; all others leave an open breaker
 * to the caller, who may have another backend. The deadlines are ours: submission and look-up as long as a person waits,
 * transfers by their size.
 */
export const RETRY_RULES: Readonly<Record<Operation, RetryRule>> = {
  submit: { on: READ, attempts: 5, deadlineMs: 120_000 },
  lookup: { on: READ, attempts: 5, deadlineMs: 120_000 },
  status: { on: READ, attempts: 5, deadlineMs: 120_000 },
  events: { on: READ, attempts: 5, deadlineMs: Infinity },
  cancel: { on: [...READ, 'open'], attempts: 8, deadlineMs: 180_000 },
  upload: { on: READ, attempts: 5, deadlineMs: 600_000 },
  download: { on: READ, attempts: 5, deadlineMs: 1_800_000 },
  health: { on: [], attempts: 1, deadlineMs: 10_000 },
};

/**
 * min(0.5 s · 2ⁿ, 8 s), up to a quarter less by chance; `Retry-After` is honoured up to 60 s: openai-node's figures.
 * A backend that asks for more is not worth waiting for within a call: its error says when.
 */
export const BACKOFF = { firstMs: 500, largestMs: 8_000, jitter: 0.25, longestRetryAfterMs: 60_000 } as const;

/** Whether a failed attempt is followed by another. */
export type RetryDecision =
  | { readonly retry: true; readonly delayMs: number }
  | {
      readonly retry: false;
      readonly because: 'not_retryable' | 'maybe_accepted' | 'attempts' | 'retry_after_too_long' | 'deadline';
    };

/** Decides by rule, without the budget. Pure; `random` is from 0 to 1. */
export function decideRetry(
  operation: Operation,
  error: unknown,
  made: { readonly attempts: number; readonly elapsedMs: number; readonly random: number },
  rule: RetryRule = RETRY_RULES[operation],
): RetryDecision {
  if (!rule.on.includes(classOf(error))) return { retry: false, because: 'not_retryable' };
  const known = ComfyUIServiceError.isInstance(error) ? error : undefined;
  if (operation === 'submit' && known?.accepted !== 'no') return { retry: false, because: 'maybe_accepted' };
  if (made.attempts >= rule.attempts) return { retry: false, because: 'attempts' };
  const asked = known?.retryAfterMs;
  if (asked !== undefined && asked > BACKOFF.longestRetryAfterMs)
    return { retry: false, because: 'retry_after_too_long' };
  const delayMs = asked === undefined ? backoff(made.attempts, made.random) : spread(asked, made.random);
  if (made.elapsedMs + delayMs >= rule.deadlineMs) return { retry: false, because: 'deadline' };
  return { retry: true, delayMs };
}

/** Milliseconds to wait after failed attempt number `attempt` (1, 2, …). */
export function backoff(attempt: number, random: number): number {
  const whole = Math.min(BACKOFF.firstMs * 2 ** (attempt - 1), BACKOFF.largestMs);
  return whole * (1 - BACKOFF.jitter * random);
}

/** At least what was asked for, and up to a tenth more, so that not all come back at once. */
function spread(askedMs: number, random: number): number {
  return askedMs * (1 + 0.1 * random);
}

/** A retry that is about to be waited for. */
export interface RetryNotice {
  readonly operation: Operation;
  /** Number of the attempt that failed. */
  readonly attempt: number;
  readonly delayMs: number;
  readonly error: unknown;
}

/** Options of {@link createRetryPolicy}. */
export interface RetryPolicyOptions {
  readonly clock: Clock;
  /** Shared by all calls to one backend. */
  readonly budget?: RetryBudget;
  /** Rules that differ from {@link RETRY_RULES}. */
  readonly rules?: Partial<Readonly<Record<Operation, RetryRule>>>;
  readonly onRetry?: (notice: RetryNotice) => void;
}

/** Sends calls again by {@link RETRY_RULES}. */
export interface RetryPolicy {
  /**
   * Makes the call, and makes it again while rule, budget and deadline allow; rejects with the last error.
   * `signal` stops everything and is the reason then; it is never retried. The call's own signal also ends at the
   * deadline: the error is `backend_unreachable` then, with `accepted: 'unknown'`.
   */
  run<T>(
    operation: Operation,
    call: (signal: AbortSignal, attempt: number) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T>;
}

/** Makes the policy of one backend. */
export function createRetryPolicy({ clock, budget, rules = {}, onRetry }: RetryPolicyOptions): RetryPolicy {
  return {
    async run(operation, call, signal) {
      signal.throwIfAborted();
      const rule = rules[operation] ?? RETRY_RULES[operation];
      const startedAt = clock.monotonic();
      // Not AbortSignal.any: a signal of it with a listener costs about as much as the request that it is for.
      const stop = new AbortController();
      const forget = onAbort(signal, () => stop.abort(signal.reason));
      const deadline = startDeadline(operation, rule.deadlineMs, clock, stop);
      const combined = stop.signal;
      budget?.request();
      try {
        for (let attempt = 1; ; attempt += 1) {
          try {
            return await call(combined, attempt);
          } catch (error) {
            signal.throwIfAborted();
            const elapsedMs = clock.monotonic() - startedAt;
            const made = { attempts: attempt, elapsedMs, random: clock.random() };
            const decision = decideRetry(operation, error, made, rule);
            if (!decision.retry || combined.aborted) throw error;
            if (budget !== undefined && !budget.tryRetry()) throw error;
            onRetry?.({ operation, attempt, delayMs: decision.delayMs, error });
            await clock.sleep(decision.delayMs, combined);
          }
        }
      } finally {
        forget();
        deadline();
      }
    },
  };
}

function startDeadline(
  operation: Operation,
  milliseconds: number,
  clock: Clock,
  stop: AbortController,
): () => void {
  if (milliseconds === Infinity) return () => undefined;
  return clock.setTimer(milliseconds, () => {
    stop.abort(
      new ComfyUIServiceError(
        'backend_unreachable',
        `The backend gave no answer to ${operation} within ${milliseconds / 1000} s, attempts included.`,
        { retryable: true, accepted: 'unknown' },
      ),
    );
  });
}
