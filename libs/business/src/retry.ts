import { ComfyUIServiceError } from './errors.ts';

/** Time, as the policy sees it; replaced in tests. */
export interface Clock {
  /** Milliseconds since 1970. It may jump: measure durations by {@link Clock.monotonic}. */
  now(): number;
  /** Milliseconds since some moment; never goes back and never jumps. */
  monotonic(): number;
  /**
   * Calls back once, after that many milliseconds. What it returns takes that back. A process need not stay alive for
   * what happens in the background.
   */
  setTimer(
    milliseconds: number,
    callback: () => void,
    options?: { readonly background?: boolean },
  ): () => void;
  /** Waits, or rejects with the signal's reason. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** A number from 0 to 1, for jitter. */
  random(): number;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: Date.now,
  monotonic: () => performance.now(),
  random: Math.random,
  setTimer(milliseconds, callback, options) {
    const timer = setTimeout(callback, milliseconds);
    if (options?.background === true) timer.unref();
    return () => clearTimeout(timer);
  },
  sleep: (milliseconds, signal) =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const stop = (): void => {
        clearTimeout(timer);
        reject(signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason)));
      };
      const timer = setTimeout(() => {
        signal.removeEventListener('abort', stop);
        resolve();
      }, milliseconds);
      signal.addEventListener('abort', stop, { once: true });
    }),
};

/** First delay, largest delay and attempts: those of openai-node, the most trusted of the clients we looked at. */
export const RETRY = { firstMs: 500, largestMs: 8_000, attempts: 5, longestRetryAfterMs: 60_000 } as const;

/** Milliseconds before attempt number `attempt` (2, 3, …): exponential with jitter, or what the backend asked for. */
export function retryDelay(attempt: number, error: unknown, random: number): number {
  const asked = ComfyUIServiceError.isInstance(error) ? error.retryAfterMs : undefined;
  if (asked !== undefined && asked <= RETRY.longestRetryAfterMs) return asked;
  return Math.min(RETRY.firstMs * 2 ** (attempt - 2), RETRY.largestMs) * (1 - 0.25 * random);
}

/** Repeats a call that changes nothing (a read, a cancellation) while its errors say that it may succeed. */
export async function retryRead<T>(call: () => Promise<T>, clock: Clock, signal: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      signal.throwIfAborted();
      const retryable = ComfyUIServiceError.isInstance(error) && error.retryable;
      if (!retryable || attempt >= RETRY.attempts) throw error;
      await clock.sleep(retryDelay(attempt + 1, error, clock.random()), signal);
    }
  }
}
