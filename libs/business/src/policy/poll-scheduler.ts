import { ComfyUIServiceError } from '../errors.ts';
import type { JobSnapshot } from '../job.ts';
import { isTerminal } from '../job.ts';
import type { Clock } from '../clock.ts';
import { BinaryHeap, type HeapEntry } from './binary-heap.ts';
import { onAbort } from './on-abort.ts';
import { AFTER_FAILURE, planLook } from './poll-plan.ts';
import type { Attempt, Permit, RateLimiter } from './rate-limiter.ts';

/** Looks under way at once when the limiter sets no lower bound; ours. */
export const LOOKS_AT_ONCE = 64;

/**
 * Part of the rate limit that ordinary looks may fill. Half: when webhooks begin to come at the full rate, as many
 * ordinary looks leave the limit's window as are missing in it.
 */
export const ORDINARY_SHARE = 0.5;

/** A job that a webhook came for goes as if it had been due for so long; a look that late may fill the limit. Ours. */
export const PRECEDENCE_MS = 60_000;

/** Milliseconds without a single successful look after which those who listen are told the error; ours. */
export const PATIENCE_MS = 30 * 60_000;

/** Options of {@link PollScheduler}. */
export interface PollSchedulerOptions {
  /** Under it all looks are made; unlimited when absent. */
  readonly limiter?: Pick<RateLimiter, 'tryAcquire' | 'rate'>;
  /** {@link LOOKS_AT_ONCE} when absent. */
  readonly concurrency?: number;
  /** Milliseconds that executions of a workflow took, ascending quantiles; undefined when unknown. */
  readonly history?: (workflow: string) => readonly number[] | undefined;
  /** Milliseconds that the backend keeps a result; Infinity when absent. */
  readonly retentionMs?: number;
  /** {@link PATIENCE_MS} when absent. */
  readonly patienceMs?: number;
}

/** What is known of a job that is to be looked at. */
export interface WatchOptions {
  /** Whether a webhook will tell of its end: it is looked at rarely then. */
  readonly webhook?: boolean;
  /** Key of its history. */
  readonly workflow?: string | undefined;
  /** Milliseconds since it was handed in. When absent it is looked at once, as after a restart. */
  readonly submittedAgoMs?: number;
}

/** Hears of a job. */
export interface WatchListener {
  /** Every look's answer; nothing comes after a final one. */
  lookedAt(snapshot: JobSnapshot): void;
  /** Looks fail for good, or the scheduler was stopped; nothing comes after it. */
  lookFailed(error: unknown): void;
}

/** Asks the backend for a job, once: retries and rate limit are the scheduler's. */
export type Look = (signal: AbortSignal) => Promise<JobSnapshot>;

interface Watch extends HeapEntry {
  readonly id: string;
  readonly look: Look;
  /** Replaced, never changed: it may be walked through. Almost always one, and a set costs as much as all the rest. */
  listeners: readonly WatchListener[];
  readonly workflow: string | undefined;
  readonly submittedAt: number;
  webhook: boolean;
  /** When it is due: the order of the heap. */
  due: number;
  looking: boolean;
  /** A webhook came while it was looked at. */
  noticedMeanwhile: boolean;
  sinceNotice: number | undefined;
  runningSince: number | undefined;
  aliveAt: number;
  looks: number;
  failures: number;
}

/**
 * Looks after all jobs of one endpoint: one heap and one timer for all of them, and one look at a job however many listen
 * to it. Jobs that a webhook came for are looked at first, then those that are likely to have ended, and every job before
 * the backend forgets its result. Errors that may pass are waited out.
 */
export class PollScheduler {
  readonly #clock: Pick<Clock, 'monotonic' | 'setTimer' | 'random'>;
  readonly #limiter: PollSchedulerOptions['limiter'];
  readonly #history: NonNullable<PollSchedulerOptions['history']>;
  readonly #concurrency: number;
  readonly #retentionMs: number;
  readonly #patienceMs: number;
  readonly #watches = new Map<string, Watch>();
  readonly #due = new BinaryHeap<Watch>((a, b) => a.due < b.due);
  readonly #stopped = new AbortController();
  #timer: { readonly at: number; readonly cancel: () => void } | undefined;
  #underWay = 0;
  #runningJobs = 0;
  #pausedUntil = -Infinity;
  #dispatching = false;

  constructor(clock: Pick<Clock, 'monotonic' | 'setTimer' | 'random'>, options: PollSchedulerOptions = {}) {
    this.#clock = clock;
    this.#limiter = options.limiter;
    this.#history = options.history ?? (() => undefined);
    this.#concurrency = options.concurrency ?? LOOKS_AT_ONCE;
    this.#retentionMs = options.retentionMs ?? Infinity;
    this.#patienceMs = options.patienceMs ?? PATIENCE_MS;
  }

  /** Jobs that are looked after. */
  get size(): number {
    return this.#watches.size;
  }

  /**
   * Looks after a job until its end; what it returns ends this for the listener, and for the job with its last
   * listener. A job that is looked after already keeps its look and its history.
   */
  add(id: string, look: Look, listener: WatchListener, options: WatchOptions = {}): () => void {
    if (this.#stopped.signal.aborted) {
      listener.lookFailed(this.#stopped.signal.reason);
      return () => undefined;
    }
    let watch = this.#watches.get(id);
    if (watch === undefined) {
      watch = this.#begin(id, look, options);
      watch.listeners = [listener];
      this.#due.push(watch);
    } else {
      watch.listeners = [...watch.listeners, listener];
      // Somebody who cannot count on a webhook listens now.
      if (watch.webhook && options.webhook !== true) {
        watch.webhook = false;
        this.#hasten(watch, this.#clock.monotonic());
      }
    }
    this.#dispatch();
    return () => this.#leave(watch, listener);
  }

  /**
   * Snapshots of a job until the final one. Rejects with the signal's reason, or when looks fail for good.
   * Leaving the iteration ends the looks, unless others listen.
   */
  async *watch(
    id: string,
    look: Look,
    signal: AbortSignal,
    options: WatchOptions = {},
  ): AsyncGenerator<JobSnapshot, void, undefined> {
    const ready: JobSnapshot[] = [];
    let failure: { readonly error: unknown } | undefined;
    let wake = Promise.withResolvers<undefined>();
    const notify = (): void => {
      wake.resolve(undefined);
      wake = Promise.withResolvers();
    };
    const listener: WatchListener = {
      lookedAt: (snapshot) => {
        ready.push(snapshot);
        notify();
      },
      lookFailed: (error) => {
        failure = { error };
        notify();
      },
    };
    const leave = this.add(id, look, listener, options);
    const forget = onAbort(signal, notify);
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
      forget();
      leave();
    }
  }

  /** Looks at a job at once, because its webhook came; false when it is not looked after. */
  notify(id: string): boolean {
    const watch = this.#watches.get(id);
    if (watch === undefined) return false;
    watch.sinceNotice = 0;
    if (watch.looking) watch.noticedMeanwhile = true;
    else this.#hasten(watch, this.#clock.monotonic() - PRECEDENCE_MS);
    this.#dispatch();
    return true;
  }

  /** Takes in what somebody else has just learnt of a job, in place of a look; false when it is not looked after. */
  deliver(id: string, snapshot: JobSnapshot): boolean {
    const watch = this.#watches.get(id);
    if (watch === undefined) return false;
    this.#learn(watch, snapshot, this.#clock.monotonic());
    if (!watch.looking && this.#watches.get(id) === watch) this.#due.update(watch);
    this.#dispatch();
    return true;
  }

  /** Ends all looks; those who listen get the reason. */
  stop(reason: Error): void {
    this.#stopped.abort(reason);
    this.#cancelTimer();
    for (const watch of [...this.#watches.values()]) this.#fail(watch, reason);
  }

  #begin(id: string, look: Look, options: WatchOptions): Watch {
    const now = this.#clock.monotonic();
    const submittedAt = now - (options.submittedAgoMs ?? 0);
    const watch: Watch = {
      id,
      look,
      listeners: [],
      workflow: options.workflow,
      submittedAt,
      webhook: options.webhook ?? false,
      due: now,
      heapIndex: -1,
      looking: false,
      noticedMeanwhile: false,
      sinceNotice: undefined,
      runningSince: undefined,
      aliveAt: submittedAt,
      looks: 0,
      failures: 0,
    };
    this.#watches.set(id, watch);
    if (options.submittedAgoMs !== undefined) watch.due = this.#plan(watch, now);
    return watch;
  }

  #plan(watch: Watch, now: number): number {
    const history = watch.workflow === undefined ? undefined : this.#history(watch.workflow);
    const rate = (this.#limiter?.rate('status') ?? Infinity) * ORDINARY_SHARE;
    const peers = watch.runningSince === undefined ? this.#watches.size : this.#runningJobs;
    const random = this.#clock.random();
    return planLook({ ...watch, history, retentionMs: this.#retentionMs, fairMs: peers / rate, random }, now);
  }

  #hasten(watch: Watch, due: number): void {
    watch.due = Math.min(watch.due, due);
    this.#due.update(watch);
  }

  #leave(watch: Watch, listener: WatchListener): void {
    watch.listeners = watch.listeners.filter((other) => other !== listener);
    if (watch.listeners.length === 0) this.#end(watch);
  }

  #end(watch: Watch): void {
    if (this.#watches.get(watch.id) !== watch) return;
    this.#watches.delete(watch.id);
    this.#due.remove(watch);
    if (watch.runningSince !== undefined) this.#runningJobs -= 1;
    if (this.#watches.size === 0) this.#cancelTimer();
  }

  #fail(watch: Watch, error: unknown): void {
    this.#end(watch);
    for (const listener of watch.listeners) listener.lookFailed(error);
  }

  /** Starts all looks that are due and allowed, and sets the timer for the next one. */
  #dispatch(): void {
    if (this.#dispatching) return;
    this.#dispatching = true;
    try {
      while (this.#underWay < this.#concurrency && !this.#stopped.signal.aborted) {
        const first = this.#due.peek();
        if (first === undefined) return;
        const now = this.#clock.monotonic();
        const at = Math.max(first.due, this.#pausedUntil);
        if (at > now) {
          this.#wakeAt(at, now);
          return;
        }
        const attempt = this.#tryAcquire(now - first.due >= PRECEDENCE_MS ? 1 : ORDINARY_SHARE);
        if (!attempt.granted) {
          this.#wakeAt(now + attempt.retryInMs, now);
          return;
        }
        this.#due.remove(first);
        void this.#look(first, attempt.permit, now);
      }
    } finally {
      this.#dispatching = false;
    }
  }

  #tryAcquire(share: number): Attempt {
    return this.#limiter?.tryAcquire('status', share) ?? { granted: true, permit: UNLIMITED };
  }

  #wakeAt(at: number, now: number): void {
    if (this.#timer !== undefined && this.#timer.at === at) return;
    this.#timer?.cancel();
    const cancel = this.#clock.setTimer(Math.max(1, Math.ceil(at - now)), () => {
      this.#timer = undefined;
      this.#dispatch();
    });
    this.#timer = { at, cancel };
  }

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #look(watch: Watch, permit: Permit, sentAt: number): Promise<void> {
    this.#underWay += 1;
    watch.looking = true;
    watch.noticedMeanwhile = false;
    try {
      const snapshot = await watch.look(this.#stopped.signal);
      this.#lookedAt(watch, () => this.#learn(watch, snapshot, sentAt));
    } catch (error) {
      this.#lookedAt(watch, () => this.#learnError(watch, error, permit));
    } finally {
      permit.release();
      this.#underWay -= 1;
      this.#dispatch();
    }
  }

  /** Plans the next look after one that ended. */
  #lookedAt(watch: Watch, learn: () => void): void {
    watch.looking = false;
    if (this.#watches.get(watch.id) !== watch) return;
    learn();
    if (this.#watches.get(watch.id) !== watch) return;
    // The look may have been answered before what the webhook told of.
    if (watch.noticedMeanwhile) watch.due = this.#clock.monotonic() - PRECEDENCE_MS;
    this.#due.push(watch);
  }

  /** @param askedAt the job's state was surely no older than this. */
  #learn(watch: Watch, snapshot: JobSnapshot, askedAt: number): void {
    const now = this.#clock.monotonic();
    watch.failures = 0;
    if (isTerminal(snapshot.status)) {
      this.#end(watch);
    } else {
      watch.aliveAt = Math.max(watch.aliveAt, askedAt);
      if (snapshot.status !== 'queued' && watch.runningSince === undefined) {
        watch.runningSince = askedAt;
        this.#runningJobs += 1;
      }
      watch.due = this.#plan(watch, now);
      watch.looks += 1;
      if (watch.sinceNotice !== undefined) watch.sinceNotice += 1;
    }
    for (const listener of watch.listeners) listener.lookedAt(snapshot);
  }

  #learnError(watch: Watch, error: unknown, permit: Permit): void {
    const now = this.#clock.monotonic();
    const known = ComfyUIServiceError.isInstance(error) && error.retryable ? error : undefined;
    if (known === undefined || now - watch.aliveAt > this.#patienceMs) {
      this.#fail(watch, error);
      return;
    }
    watch.failures += 1;
    if (known.code === 'rate_limited') permit.throttled(known.retryAfterMs);
    // The whole backend is not to be asked now, whichever job it is about.
    if (
      known.code === 'backend_unavailable' ||
      (known.code === 'rate_limited' && this.#limiter === undefined)
    )
      this.#pausedUntil = Math.max(this.#pausedUntil, now + (known.retryAfterMs ?? AFTER_FAILURE.firstMs));
    const delay = Math.min(AFTER_FAILURE.firstMs * 2 ** (watch.failures - 1), AFTER_FAILURE.largestMs);
    watch.due = now + delay * (1 - AFTER_FAILURE.jitter * this.#clock.random());
  }
}

const UNLIMITED: Permit = { release: () => undefined, throttled: () => undefined };
