import type { JobSnapshot } from './job.ts';
import { isTerminal } from './job.ts';
import type { Clock } from './retry.ts';

/** Milliseconds between two looks at a job: quick at first, slower as it grows older. */
export const POLL_INTERVAL = { firstMs: 250, largestMs: 2_000, growth: 1.25 } as const;

/** Polls of one backend that are under way at once. */
const CONCURRENCY = 8;

interface Watch {
  readonly poll: (signal: AbortSignal) => Promise<JobSnapshot>;
  readonly listeners: Set<Listener>;
  due: number;
  interval: number;
  failure: unknown;
}

interface Listener {
  readonly snapshot: (snapshot: JobSnapshot) => void;
  readonly failed: (error: unknown) => void;
}

/**
 * Looks after all jobs of one backend that have no event stream: one timer for all of them, the earliest due
 * first, and one poll of a job however many listen to it.
 */
export class PollScheduler {
  readonly #clock: Clock;
  readonly #watches = new Map<string, Watch>();
  readonly #stopped = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #running = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Snapshots of a job until the final one. Rejects when a poll fails for good. */
  async *watch(
    id: string,
    poll: Watch['poll'],
    signal: AbortSignal,
  ): AsyncGenerator<JobSnapshot, void, undefined> {
    const ready: JobSnapshot[] = [];
    let failure: { readonly error: unknown } | undefined;
    let wake = Promise.withResolvers<undefined>();
    const notify = (): void => {
      wake.resolve(undefined);
      wake = Promise.withResolvers();
    };
    const listener: Listener = {
      snapshot: (snapshot) => {
        ready.push(snapshot);
        notify();
      },
      failed: (error) => {
        failure = { error };
        notify();
      },
    };
    this.#add(id, poll, listener);
    signal.addEventListener('abort', notify, { once: true });
    try {
      for (;;) {
        const woken = wake.promise;
        signal.throwIfAborted();
        for (const snapshot of ready.splice(0)) {
          yield snapshot;
          if (isTerminal(snapshot.status)) return;
        }
        if (failure !== undefined) throw failure.error;
        await woken;
      }
    } finally {
      signal.removeEventListener('abort', notify);
      this.#remove(id, listener);
    }
  }

  /** Stops polling; those who listen get the reason. */
  stop(reason: Error): void {
    this.#stopped.abort(reason);
    clearTimeout(this.#timer);
    for (const watch of this.#watches.values())
      for (const listener of watch.listeners) listener.failed(reason);
    this.#watches.clear();
  }

  #add(id: string, poll: Watch['poll'], listener: Listener): void {
    const watch = this.#watches.get(id);
    if (watch === undefined) {
      const due = this.#clock.now();
      this.#watches.set(id, {
        poll,
        listeners: new Set([listener]),
        due,
        interval: POLL_INTERVAL.firstMs,
        failure: undefined,
      });
    } else {
      watch.listeners.add(listener);
    }
    this.#plan();
  }

  #remove(id: string, listener: Listener): void {
    const watch = this.#watches.get(id);
    watch?.listeners.delete(listener);
    if (watch?.listeners.size === 0) this.#watches.delete(id);
  }

  #plan(): void {
    clearTimeout(this.#timer);
    if (this.#stopped.signal.aborted || this.#watches.size === 0 || this.#running >= CONCURRENCY) return;
    const due = Math.min(...[...this.#watches.values()].map((watch) => watch.due));
    if (due === Infinity) return;
    this.#timer = setTimeout(() => this.#look(), Math.max(0, due - this.#clock.now()));
  }

  #look(): void {
    const now = this.#clock.now();
    const due = [...this.#watches.values()].filter((watch) => watch.due <= now).sort((a, b) => a.due - b.due);
    for (const watch of due.slice(0, CONCURRENCY - this.#running)) {
      watch.due = Infinity;
      this.#running += 1;
      void this.#poll(watch);
    }
    this.#plan();
  }

  async #poll(watch: Watch): Promise<void> {
    try {
      const snapshot = await watch.poll(this.#stopped.signal);
      for (const listener of watch.listeners) listener.snapshot(snapshot);
    } catch (error) {
      for (const listener of watch.listeners) listener.failed(error);
    } finally {
      this.#running -= 1;
      watch.interval = Math.min(watch.interval * POLL_INTERVAL.growth, POLL_INTERVAL.largestMs);
      watch.due = this.#clock.now() + watch.interval;
      this.#plan();
    }
  }
}
