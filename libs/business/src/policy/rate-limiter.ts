import { ComfyUIServiceError } from '../errors.ts';
import type { Clock } from '../clock.ts';
import { onAbort } from './on-abort.ts';
import type { Operation } from './operation.ts';
import { type RateLimit, RequestWindow } from './request-window.ts';

/** What a provider allows. */
export interface RateLimits {
  /** Limits of single operations. */
  readonly operations?: Partial<Readonly<Record<Operation, RateLimit>>>;
  /** A limit of all operations together. */
  readonly shared?: RateLimit;
  /**
   * Share of `shared` (0 to 1) that only submissions, look-ups and cancellations may use, so that polling never
   * starves them; {@link RESERVE} when absent.
   */
  readonly reserve?: number;
}

/** Ours: a fifth, so that polling still gets most of the limit and a burst of submissions does not wait for it. */
export const RESERVE = 0.2;

/** Milliseconds by which the delays of two requests on their way to a provider may differ; ours. */
export const NETWORK_JITTER_MS = 10;

/** Milliseconds after which to ask again when all places are taken and nobody can say when one gets free. */
const FULL_RETRY_MS = 10;

/** Use the reserve, and go before all others. */
const PRIVILEGED: readonly Operation[] = ['submit', 'lookup', 'cancel'];

/** Leave to make one request. */
export interface Permit {
  /** Must be called when the answer has come or the request has failed. Again does nothing. */
  release(): void;
  /** Tells of a 429: the limit shrinks, and nothing goes out before `retryAfterMs` milliseconds have passed. */
  throttled(retryAfterMs?: number): void;
}

/** The answer to {@link RateLimiter.tryAcquire}. */
export type Attempt =
  | { readonly granted: true; readonly permit: Permit }
  /** Milliseconds until asking again makes sense. */
  | { readonly granted: false; readonly retryInMs: number };

/** Keeps one endpoint's requests within the provider's limits. */
export interface RateLimiter {
  /** Waits for a permit, first come first served; rejects with the signal's reason. */
  acquire(operation: Operation, signal: AbortSignal): Promise<Permit>;
  /**
   * A permit now or not at all; never before somebody who waits.
   *
   * @param share part of the limit (0 to 1) that requests of this kind may fill; 1 when absent.
   */
  tryAcquire(operation: Operation, share?: number): Attempt;
  /** Makes a call under a permit. `rate_limited` errors shrink the limit. */
  run<T>(operation: Operation, call: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** Requests a millisecond that an operation may make at present; Infinity without a limit. */
  rate(operation: Operation): number;
  /** Calls that wait. */
  readonly waiting: number;
  /** Rejects all that wait, with this reason. */
  close(reason: Error): void;
}

interface Waiter {
  readonly operation: Operation;
  readonly order: number;
  readonly grant: (permit: Permit) => void;
  readonly refuse: (reason: unknown) => void;
}

/** Options of {@link createRateLimiter}. */
export interface RateLimiterOptions {
  readonly clock: Clock;
  readonly limits: RateLimits;
  /** {@link NETWORK_JITTER_MS} when absent. */
  readonly jitterMs?: number;
}

/** Makes the limiter of one endpoint. */
export function createRateLimiter({
  clock,
  limits,
  jitterMs = NETWORK_JITTER_MS,
}: RateLimiterOptions): RateLimiter {
  const own = new Map(
    Object.entries(limits.operations ?? {}).map(([name, limit]) => [
      name,
      new RequestWindow(limit, jitterMs),
    ]),
  );
  const shared = limits.shared === undefined ? undefined : new RequestWindow(limits.shared, jitterMs);
  const common = 1 - (limits.reserve ?? RESERVE);
  /** Who waits, by operation; sets, because they keep the order and let go of any in O(1). */
  const queues = new Map<Operation, Set<Waiter>>();
  let count = 0;
  let cancelTimer: (() => void) | undefined;
  let closed: Error | undefined;

  function sharedPart(operation: Operation, share: number): number {
    return PRIVILEGED.includes(operation) ? share : share * common;
  }

  /** When a request may go; Infinity while as many are under way as may be. */
  function freeAt(operation: Operation, share: number, now: number): number {
    const window = own.get(operation);
    if (window?.isFull === true || shared?.isFull === true) return Infinity;
    return Math.max(
      window?.freeAt(now, share) ?? now,
      shared?.freeAt(now, sharedPart(operation, share)) ?? now,
    );
  }

  function enter(operation: Operation, now: number): Permit {
    const window = own.get(operation);
    window?.enter(now);
    shared?.enter(now);
    let released = false;
    return {
      release() {
        if (released) return;
        released = true;
        const now = clock.monotonic();
        window?.leave(now);
        shared?.leave(now);
        if (queues.size > 0) pump();
      },
      throttled(retryAfterMs) {
        (window ?? shared)?.throttled(clock.monotonic(), now, retryAfterMs);
      },
    };
  }

  /** The heads of the queues in the order in which they go: the privileged first, the others as they came. */
  function heads(): Waiter[] {
    const rank = ({ operation, order }: Waiter): number => {
      const place = PRIVILEGED.indexOf(operation);
      return place < 0 ? order : place - PRIVILEGED.length;
    };
    const first = [...queues.values()].flatMap((queue) => [...queue.values().take(1)]);
    return first.sort((a, b) => rank(a) - rank(b));
  }

  function leaveQueue(waiter: Waiter): void {
    const queue = queues.get(waiter.operation);
    queue?.delete(waiter);
    if (queue?.size === 0) queues.delete(waiter.operation);
  }

  function pump(): void {
    cancelTimer?.();
    cancelTimer = undefined;
    for (;;) {
      const now = clock.monotonic();
      const waiters = heads();
      const ready = waiters.find(({ operation }) => freeAt(operation, 1, now) <= now);
      if (ready === undefined) {
        const next = Math.min(...waiters.map(({ operation }) => freeAt(operation, 1, now)));
        if (next < Infinity) cancelTimer = clock.setTimer(wholeMs(next - now), pump);
        return;
      }
      leaveQueue(ready);
      ready.grant(enter(ready.operation, now));
    }
  }

  const limiter: RateLimiter = {
    acquire(operation, signal) {
      return new Promise((resolve, reject) => {
        signal.throwIfAborted();
        if (closed !== undefined) throw closed;
        const now = clock.monotonic();
        // Nobody waits, and it may go: almost always.
        if (queues.size === 0 && freeAt(operation, 1, now) <= now) {
          resolve(enter(operation, now));
          return;
        }
        const stop = (): void => {
          leaveQueue(waiter);
          waiter.refuse(signal.reason);
          pump();
        };
        const settled = <T>(settle: (value: T) => void) => {
          return (value: T): void => {
            forget();
            settle(value);
          };
        };
        const waiter: Waiter = {
          operation,
          order: (count += 1),
          grant: settled(resolve),
          refuse: settled(reject),
        };
        const forget = onAbort(signal, stop);
        const queue = queues.get(operation);
        if (queue === undefined) queues.set(operation, new Set([waiter]));
        else queue.add(waiter);
        // Behind others of its kind nothing can have changed for it.
        if (queue === undefined) pump();
      });
    },
    tryAcquire(operation, share = 1) {
      const now = clock.monotonic();
      const at = freeAt(operation, share, now);
      if (at <= now && !queues.has(operation)) return { granted: true, permit: enter(operation, now) };
      return { granted: false, retryInMs: at <= now || at === Infinity ? FULL_RETRY_MS : wholeMs(at - now) };
    },
    async run(operation, call, signal) {
      const permit = await limiter.acquire(operation, signal);
      try {
        return await call();
      } catch (error) {
        if (ComfyUIServiceError.isInstance(error) && error.code === 'rate_limited')
          permit.throttled(error.retryAfterMs);
        throw error;
      } finally {
        permit.release();
      }
    },
    rate(operation) {
      const now = clock.monotonic();
      const whole = shared === undefined ? Infinity : shared.rate(now) * sharedPart(operation, 1);
      return Math.min(own.get(operation)?.rate(now) ?? Infinity, whole);
    },
    get waiting() {
      return queues.values().reduce((sum, queue) => sum + queue.size, 0);
    },
    close(reason) {
      closed = reason;
      cancelTimer?.();
      for (const waiter of [...queues.values()].flatMap((queue) => [...queue])) waiter.refuse(reason);
      queues.clear();
    },
  };
  return limiter;
}

/** Timers count whole milliseconds; one that fires a little early would only be set again. */
function wholeMs(milliseconds: number): number {
  return Math.max(1, Math.ceil(milliseconds));
}
