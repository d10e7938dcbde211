import { BinaryHeap, type HeapEntry } from '../policy/binary-heap.ts';
import { type Clock, sleepBy } from '../clock.ts';

interface Timer extends HeapEntry {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
}

/** Where a {@link ManualClock} begins. */
export interface ManualClockOptions {
  /** Milliseconds since 1970; the first moment of 2026 when absent. */
  readonly now?: number;
  /** Seed of {@link ManualClock.random}; 1 when absent. */
  readonly seed?: number;
}

/**
 * A clock that stands still until it is moved. Moving it runs the timers that come due, in the order of their
 * times and then of their making. `pass` and `until` also let every promise go on in between; those that wait for the
 * machine (files, sockets) are not waited for.
 */
export class ManualClock implements Clock {
  readonly #timers = new BinaryHeap<Timer>((a, b) => a.at < b.at || (a.at === b.at && a.order < b.order));
  #wall: number;
  #elapsed = 0;
  #made = 0;
  #seed: number;

  constructor({ now = Date.UTC(2026, 0, 1), seed = 1 }: ManualClockOptions = {}) {
    this.#wall = now;
    this.#seed = seed;
  }

  /** Timers that have not run. */
  get pending(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#wall + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  /** The same numbers for the same seed (mulberry32). */
  random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  setTimer(milliseconds: number, callback: () => void): () => void {
    const at = this.#elapsed + Math.max(0, milliseconds);
    const timer: Timer = { at, order: (this.#made += 1), callback, heapIndex: -1 };
    this.#timers.push(timer);
    return () => this.#timers.remove(timer);
  }

  sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    return sleepBy(this, milliseconds, signal);
  }

  /** Moves the clock at once: timers run, promises do not. */
  advance(milliseconds: number): void {
    const end = this.#elapsed + milliseconds;
    while (this.#runNext(end));
    this.#elapsed = Math.max(this.#elapsed, end);
  }

  /** Lets that many milliseconds pass, promises included. */
  async pass(milliseconds: number): Promise<void> {
    const end = this.#elapsed + milliseconds;
    await promisesGoOn();
    while (this.#runNext(end)) await promisesGoOn();
    this.#elapsed = Math.max(this.#elapsed, end);
  }

  /**
   * Lets time pass, timer by timer, until the promise is settled, and gives its outcome.
   *
   * @throws when no timer is left that could settle it.
   */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const note = (): void => {
      settled = true;
    };
    promise.then(note, note);
    await promisesGoOn();
    while (!isTrue(settled)) {
      if (!this.#runNext(Infinity)) throw new Error('Nothing will settle this promise: no timer is left.');
      await promisesGoOn();
    }
    return promise;
  }

  /** Sets the wall clock forwards or backwards, as a time server would; no timer runs. */
  jump(milliseconds: number): void {
    this.#wall += milliseconds;
  }

  /** Runs the next timer that is due by then; false when there is none. */
  #runNext(end: number): boolean {
    const next = this.#timers.peek();
    if (next === undefined || next.at > end) return false;
    this.#timers.remove(next);
    this.#elapsed = Math.max(this.#elapsed, next.at);
    next.callback();
    return true;
  }
}

/** A clock that begins at a moment; milliseconds since 1970. */
export function manualClock(now?: number): ManualClock {
  return new ManualClock(now === undefined ? {} : { now });
}

function promisesGoOn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Keeps the compiler from narrowing what a callback changes. */
function isTrue(value: boolean): boolean {
  return value;
}
