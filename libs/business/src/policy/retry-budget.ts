import type { Clock } from '../clock.ts';

/**
 * How many retries there may be. `ratio` is Finagle's (retries ≤ 20 % of requests, finagle.github.io, "Retry
 * Budgets", 2016), `capacity` is what AWS's SDKs allow at once (500 tokens, 5 a retry of a throttled call). The floor is
 * a tenth of Finagle's 10/s: our busiest operation may be sent 100 times a second, and 10/s would be 10 % more.
 */
export const RETRY_BUDGET = { ratio: 0.2, capacity: 100, floorPerSecond: 1, floorBurst: 10 } as const;

/** Limits retries to a share of the requests, so that a backend in trouble is not asked many times as much. */
export interface RetryBudget {
  /** Counts a first attempt. */
  request(): void;
  /** Whether one retry may be made now; if so, it is counted. */
  tryRetry(): boolean;
}

/** Options of {@link createRetryBudget}. */
export interface RetryBudgetOptions {
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Retries that one request pays for. */
  readonly ratio?: number;
  /** Retries that may be saved up from requests. */
  readonly capacity?: number;
  /** Retries a second that are always allowed. */
  readonly floorPerSecond?: number;
  /** Retries that the floor may save up. */
  readonly floorBurst?: number;
}

/**
 * A token bucket: every request pays in, every retry takes one out. Over any time, retries are at most
 * `ratio` × requests + `floorPerSecond` × seconds + `floorBurst`.
 */
export function createRetryBudget(options: RetryBudgetOptions): RetryBudget {
  const { clock, ratio, capacity, floorPerSecond, floorBurst } = { ...RETRY_BUDGET, ...options };
  let saved = 0;
  let floor: number = floorBurst;
  let floorAt = clock.monotonic();

  function refill(): void {
    const now = clock.monotonic();
    floor = Math.min(floorBurst, floor + ((now - floorAt) / 1000) * floorPerSecond);
    floorAt = now;
  }

  return {
    request() {
      saved = Math.min(capacity, saved + ratio);
    },
    tryRetry() {
      refill();
      // A sum of many tenths may lie a little below the whole number that it stands for.
      if (saved >= 1 - 1e-9) saved = Math.max(0, saved - 1);
      else if (floor >= 1) floor -= 1;
      else return false;
      return true;
    },
  };
}
