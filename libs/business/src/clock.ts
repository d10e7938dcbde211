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
  sleep: (milliseconds, signal) => sleepBy(systemClock, milliseconds, signal),
};

/** Waits by a clock's timers, or rejects with the signal's reason. */
export function sleepBy(
  clock: Pick<Clock, 'setTimer'>,
  milliseconds: number,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = (): void => {
      cancel();
      reject(reasonOf(signal));
    };
    const cancel = clock.setTimer(milliseconds, () => {
      signal.removeEventListener('abort', stop);
      resolve();
    });
    signal.addEventListener('abort', stop, { once: true });
  });
}

/** Why a signal was aborted, as an error. */
export function reasonOf({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
