import { type Clock, sleepBy } from '../src/clock.ts';

/** A clock that runs so many times as fast as the machine's, so that minutes of backoff pass in seconds. */
export function fastClock(
  factor: number,
  random: () => number,
): Clock & { jump(milliseconds: number): void } {
  const startedAt = performance.now();
  const began = Date.now();
  let jumped = 0;
  const monotonic = (): number => (performance.now() - startedAt) * factor;
  const clock: Clock & { jump(milliseconds: number): void } = {
    now: () => began + monotonic() + jumped,
    monotonic,
    random,
    /** The wall clock is set, as by an administrator. */
    jump(milliseconds: number) {
      jumped += milliseconds;
    },
    setTimer(milliseconds: number, callback: () => void, options?: { readonly background?: boolean }) {
      const timer = setTimeout(callback, milliseconds / factor);
      if (options?.background === true) timer.unref();
      return () => clearTimeout(timer);
    },
    sleep: (milliseconds: number, signal: AbortSignal) => sleepBy(clock, milliseconds, signal),
  };
  return clock;
}
