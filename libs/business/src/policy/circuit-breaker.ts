import { ComfyUIServiceError } from '../errors.ts';
import type { Clock } from '../clock.ts';
import { classOf, type ErrorClass } from './operation.ts';

/**
 * Five failures one after the other open it, for a second at first and a minute at most. Ours: calls to these backends
 * are rare and jobs long, so that a breaker which samples a rate never trips on them; a second is shorter than any job.
 */
export const BREAKER = { failures: 5, firstOpenMs: 1_000, longestOpenMs: 60_000, probes: 1 } as const;

/** Closed: calls go through. Open: none does. Half-open: a few do, to find out. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** Errors that say that the backend is in trouble. */
const FAILURES: readonly ErrorClass[] = ['unreachable', 'server', 'malformed'];

/** Stops asking a backend that does not answer. */
export interface CircuitBreaker {
  /**
   * Makes the call, or rejects with `backend_unavailable` (retryable, with `retryAfterMs`, surely not accepted).
   * Only failures of the backend count: what it refuses, throttles, or nobody waited for does not.
   */
  run<T>(call: () => Promise<T>): Promise<T>;
  readonly state: BreakerState;
  /** Milliseconds until the next probe; 0 when calls may go through. */
  readonly retryInMs: number;
}

/** Options of {@link createCircuitBreaker}. */
export interface CircuitBreakerOptions {
  readonly clock: Pick<Clock, 'monotonic' | 'random'>;
  /** Name of the backend, for errors. */
  readonly backend: string;
  /** Failures one after the other that open it. */
  readonly failures?: number;
  /** Milliseconds that it stays open first; twice as long after every failed probe. */
  readonly firstOpenMs?: number;
  readonly longestOpenMs?: number;
  /** Probes at once. */
  readonly probes?: number;
  readonly onChange?: (state: BreakerState, cause: unknown) => void;
}

/** Makes the breaker of one backend, closed. */
export function createCircuitBreaker(options: CircuitBreakerOptions): CircuitBreaker {
  const { clock, backend, onChange } = options;
  const { failures: threshold, firstOpenMs, longestOpenMs, probes } = { ...BREAKER, ...options };
  let state: BreakerState = 'closed';
  let failures = 0;
  let openings = 0;
  let openUntil = 0;
  let probing = 0;
  let cause: unknown;
  /** Grows with every change of state: what began before says nothing about now. */
  let era = 0;

  function change(next: BreakerState): void {
    state = next;
    era += 1;
    failures = 0;
    probing = 0;
    onChange?.(next, cause);
  }

  function open(error: unknown): void {
    cause = error;
    openings += 1;
    const openMs = Math.min(firstOpenMs * 2 ** (openings - 1), longestOpenMs);
    // Several services must not all probe at once.
    openUntil = clock.monotonic() + openMs * (1 + 0.2 * clock.random());
    change('open');
  }

  function close(): void {
    cause = undefined;
    openings = 0;
    change('closed');
  }

  function retryInMs(): number {
    return state === 'open' ? Math.max(0, openUntil - clock.monotonic()) : 0;
  }

  function admit(): void {
    if (state === 'open' && retryInMs() === 0) change('half-open');
    if (state === 'open') throw unavailable(retryInMs());
    if (state === 'half-open') {
      // As long as a probe may take, nobody can say more; a second is soon enough to ask again.
      if (probing >= probes) throw unavailable(firstOpenMs);
      probing += 1;
    }
  }

  function unavailable(retryAfterMs: number): ComfyUIServiceError {
    const seconds = (retryAfterMs / 1000).toFixed(1);
    return new ComfyUIServiceError(
      'backend_unavailable',
      `Backend "${backend}" has failed ${threshold} times in a row; it is tried again in ${seconds} s.`,
      {
        backend,
        cause,
        retryable: true,
        retryAfterMs,
        accepted: 'no',
        hint: 'Wait, or give the endpoint a second backend to fail over to.',
      },
    );
  }

  function note(error: unknown, began: number): void {
    if (began !== era) return;
    const kind = error === undefined ? 'success' : classOf(error);
    const failed = kind !== 'success' && FAILURES.includes(kind);
    const answered = kind === 'success' || kind === 'final' || kind === 'throttled';
    if (state === 'half-open') {
      probing -= 1;
      if (failed) open(error);
      else if (answered) close();
    } else if (failed) {
      failures += 1;
      if (failures >= threshold) open(error);
    } else if (answered) failures = 0;
  }

  return {
    async run(call) {
      admit();
      const began = era;
      let error: unknown;
      try {
        return await call();
      } catch (thrown) {
        error = thrown ?? new Error('The call failed without a reason.');
        throw thrown;
      } finally {
        note(error, began);
      }
    },
    get state() {
      return state === 'open' && retryInMs() === 0 ? 'half-open' : state;
    },
    get retryInMs() {
      return retryInMs();
    },
  };
}
