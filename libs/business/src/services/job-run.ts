import type { ProviderRef } from '../adapter.ts';
import { ComfyUIServiceError, type ErrorContext } from '../errors.ts';
import { isTerminal, type JobEvent, type JobSnapshot } from '../job.ts';
import type { JobOutput } from '../output.ts';
import { onAbort } from '../policy/on-abort.ts';
import type { WatchListener } from '../policy/poll-scheduler.ts';
import { backoff } from '../policy/retry-policy.ts';
import { type Clock, reasonOf } from '../clock.ts';
import { type JobRecord, hasEnded } from '../store/job-record.ts';
import type { Backend } from './backend.ts';
import { failureOf, storedSnapshot, toJobStatus } from './stored-job.ts';
import { Told } from './told.ts';

const DONE = Promise.resolve();
const NOBODY: readonly Waiter[] = [];

/** Milliseconds under which an event stream counts as brief, so that the next one is opened later. */
const BRIEF_STREAM_MS = 5_000;

/** What a listener hears, before it is worked out what is new to it. */
type Fact =
  | {
      readonly type: 'snapshot';
      readonly snapshot: Pick<JobSnapshot, 'status' | 'progress' | 'queuePosition'> & Partial<JobSnapshot>;
    }
  | Extract<JobEvent, { type: 'preview' | 'restarted' }>
  | { readonly type: 'output'; readonly nodeId: string; readonly name: string }
  | { readonly type: 'ended' }
  | { readonly type: 'failed'; readonly error: unknown };

/** Who waits for the end. */
interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** What a run needs of the service. */
export interface RunHost {
  readonly clock: Clock;
  /** Takes in what the backend says of the job; resolves when all that follows from it is stored. */
  learn(run: JobRun, snapshot: JobSnapshot): Promise<void>;
  /** The job cannot be followed any more, for this reason. */
  lose(run: JobRun, error: unknown): Promise<void>;
  /** What was heard of the job could not be stored: it must be asked for again. */
  notTakenIn(run: JobRun): void;
}

/** A job in this service: what is stored, what the backend said last, and who listens. */
export class JobRun implements WatchListener {
  readonly #host: RunHost;
  // Thousands of jobs may be in flight: what not every job needs is made when it is needed.
  #listeners: Set<(fact: Fact) => void> | undefined;
  #waiters: readonly Waiter[] = NOBODY;
  #work: Promise<void> = DONE;
  #leave: (() => void) | undefined;
  #stream: AbortController | undefined;
  #backend: Backend;
  /** As it is stored. */
  record: JobRecord;
  /** As the backend said last. */
  snapshot: JobSnapshot | undefined;

  constructor(host: RunHost, record: JobRecord, backend: Backend) {
    this.#host = host;
    this.record = record;
    this.#backend = backend;
  }

  get id(): string {
    return this.record.id;
  }

  get backend(): Backend {
    return this.#backend;
  }

  get hasEnded(): boolean {
    return hasEnded(this.record);
  }

  /** Whether this service asks the backend for it. */
  get isFollowed(): boolean {
    return this.#leave !== undefined;
  }

  /** For errors. */
  get context(): ErrorContext {
    return { jobId: this.id, endpoint: this.record.endpoint ?? undefined, backend: this.record.backend };
  }

  /** Outputs that can be opened, of a job that has just succeeded here. */
  get outputs(): readonly JobOutput[] | undefined {
    return this.snapshot?.status === 'succeeded' ? this.snapshot.outputs : undefined;
  }

  /** Looks after the job at the backend that has it now. */
  follow(backend: Backend, options: { readonly webhook: boolean; readonly submittedAgoMs?: number }): void {
    this.unfollow();
    this.#backend = backend;
    const ref = this.record.providerRef;
    if (ref === null || this.hasEnded) return;
    this.#leave = backend.scheduler.add(this.id, (signal) => backend.look(ref, signal), this, {
      webhook: options.webhook,
      workflow: historyKey(this.record),
      ...(options.submittedAgoMs === undefined ? {} : { submittedAgoMs: options.submittedAgoMs }),
    });
    this.#openStream();
  }

  /** Stops looking. */
  unfollow(): void {
    this.#leave?.();
    this.#leave = undefined;
    this.#stream?.abort();
    this.#stream = undefined;
  }

  /** The scheduler's news. */
  lookedAt(snapshot: JobSnapshot): void {
    void this.learn(snapshot);
  }

  /** The scheduler gives up. */
  lookFailed(error: unknown): void {
    void this.#enqueue(() => this.#host.lose(this, error));
  }

  /** Takes in a snapshot, one after the other; resolves when what follows from it is stored. */
  learn(snapshot: JobSnapshot): Promise<void> {
    return this.#enqueue(async () => {
      if (this.hasEnded) return;
      const known: JobSnapshot = { ...snapshot, error: snapshot.error?.within(this.context) };
      if (!isTerminal(known.status)) this.tell(known);
      await this.#host.learn(this, known);
    });
  }

  /** Asks the backend and takes in the answer. */
  async ask(signal: AbortSignal): Promise<JobSnapshot> {
    const ref = this.record.providerRef;
    if (this.hasEnded || ref === null) return this.snapshotNow();
    const snapshot = await this.#backend.status(ref, signal);
    await this.learn(snapshot);
    return this.snapshotNow();
  }

  /** What is known now. */
  snapshotNow(): JobSnapshot {
    const stored = storedSnapshot(this.record);
    if (this.hasEnded) {
      const outputs = this.outputs ?? [];
      return { ...stored, outputs, warnings: this.snapshot?.warnings ?? [] };
    }
    return this.snapshot ?? stored;
  }

  /** Tells those who listen what the backend says. */
  tell(snapshot: JobSnapshot): void {
    this.snapshot = snapshot;
    this.#emit({ type: 'snapshot', snapshot });
  }

  /** The job is sent again, for this reason. */
  restarted(error: ComfyUIServiceError | undefined): void {
    this.unfollow();
    this.snapshot = undefined;
    this.#emit({ type: 'restarted', attempt: this.record.attempt, error });
  }

  /** The end is stored. */
  end(final?: JobSnapshot): void {
    if (final !== undefined) this.snapshot = final;
    this.unfollow();
    const waiters = this.#waiters;
    this.#waiters = NOBODY;
    for (const { resolve } of waiters) resolve();
    this.#emit({ type: 'ended' });
  }

  /** Nobody can follow the job here any more; those who wait get the error. */
  failed(error: unknown): void {
    this.unfollow();
    this.#tellFailure(error);
  }

  #tellFailure(error: unknown): void {
    const waiters = this.#waiters;
    this.#waiters = NOBODY;
    for (const { reject } of waiters) reject(toError(error));
    this.#emit({ type: 'failed', error });
  }

  /** A webhook says that there is something new. */
  notice(): void {
    this.#backend.scheduler.notify(this.id);
  }

  /**
   * Waits for the end; rejects when nobody can follow the job here any more. A few hundred bytes each, because thousands
   * of jobs may be waited for.
   */
  ended(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) reject(reasonOf(signal));
      else if (this.hasEnded) resolve();
      else {
        this.#wait(signal === undefined ? { resolve, reject } : this.#abortable({ resolve, reject }, signal));
        this.#openStream();
      }
    });
  }

  #wait(waiter: Waiter): void {
    this.#waiters = this.#waiters === NOBODY ? [waiter] : [...this.#waiters, waiter];
  }

  #abortable({ resolve, reject }: Waiter, signal: AbortSignal): Waiter {
    const forget = onAbort(signal, () => {
      forget();
      this.#waiters = this.#waiters.filter((other) => other !== waiter);
      this.#closeStreamOfNobody();
      reject(reasonOf(signal));
    });
    const waiter: Waiter = {
      resolve: () => {
        forget();
        resolve();
      },
      reject: (error) => {
        forget();
        reject(error);
      },
    };
    return waiter;
  }

  get #isHeard(): boolean {
    return this.#waiters.length > 0 || (this.#listeners?.size ?? 0) > 0;
  }

  #closeStreamOfNobody(): void {
    if (this.#isHeard) return;
    this.#stream?.abort();
    this.#stream = undefined;
  }

  /** What happens from now on, beginning with how it stands; ends with exactly one `finished`. */
  async *events(signal: AbortSignal): AsyncGenerator<JobEvent, void, undefined> {
    const told = new Told();
    const facts: Fact[] = [];
    let wake = Promise.withResolvers<undefined>();
    const notify = (): void => {
      wake.resolve(undefined);
      wake = Promise.withResolvers();
    };
    const listener = (fact: Fact): void => {
      facts.push(fact);
      notify();
    };
    signal.throwIfAborted();
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
    const forget = onAbort(signal, notify);
    this.#openStream();
    try {
      if (!this.hasEnded) yield* told.about(this.snapshot ?? storedSnapshot(this.record));
      else facts.push({ type: 'ended' });
      for (;;) {
        const woken = wake.promise;
        signal.throwIfAborted();
        const fact = facts.shift();
        if (fact === undefined) {
          await woken;
          continue;
        }
        switch (fact.type) {
          case 'snapshot':
            yield* told.about(fact.snapshot);
            break;
          case 'output':
            yield* told.output(fact.nodeId, fact.name);
            break;
          case 'restarted':
            told.restart();
            yield fact;
            break;
          case 'preview':
            yield fact;
            break;
          case 'failed':
            throw fact.error;
          case 'ended':
            if (this.outputs !== undefined) yield* told.about(this.snapshotNow());
            yield {
              type: 'finished',
              status: toJobStatus(this.record.status),
              error: failureOf(this.record),
            };
            return;
        }
      }
    } finally {
      forget();
      this.#listeners.delete(listener);
      this.#closeStreamOfNobody();
    }
  }

  #emit(fact: Fact): void {
    for (const listener of this.#listeners ?? []) listener(fact);
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#work.then(work);
    this.#work = done.catch((error: unknown) => {
      this.#host.notTakenIn(this);
      this.#tellFailure(error);
    });
    return this.#work;
  }

  /** Keeps an event stream open while somebody listens, where the backend has one. */
  #openStream(): void {
    const ref = this.record.providerRef;
    if (this.#stream !== undefined || !this.#isHeard || this.hasEnded || ref === null) return;
    if (this.#backend.adapter.events === undefined) return;
    const stop = new AbortController();
    this.#stream = stop;
    void this.#readStreams(this.#backend, ref, stop.signal);
  }

  /** The stream is a hint; what the scheduler asks for is the truth. */
  async #readStreams(backend: Backend, ref: ProviderRef, signal: AbortSignal): Promise<void> {
    const { clock } = this.#host;
    const isOver = (): boolean => signal.aborted || this.hasEnded;
    for (let brief = 1; !isOver(); brief += 1) {
      const openedAt = clock.monotonic();
      try {
        for await (const event of backend.events(ref, signal) ?? []) {
          if (event.type === 'snapshot') {
            if (isTerminal(event.snapshot.status)) break;
            const last = this.snapshot ?? storedSnapshot(this.record);
            this.#backend.scheduler.deliver(this.id, { ...last, ...event.snapshot });
          } else if (event.type === 'preview') this.#emit(event);
          else this.#emit({ type: 'output', nodeId: event.nodeId, name: event.name });
        }
      } catch (error) {
        if (isOver()) return;
        // What will not pass by itself is the scheduler's to tell.
        if (!ComfyUIServiceError.isInstance(error) || !error.retryable) {
          this.notice();
          return;
        }
      }
      if (isOver()) return;
      this.notice();
      if (clock.monotonic() - openedAt >= BRIEF_STREAM_MS) brief = 0;
      else await clock.sleep(backoff(Math.max(1, brief), clock.random()), signal).catch(() => undefined);
    }
  }
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

/** Key of the history of executions: the same endpoint on the same backend. */
export function historyKey({ endpoint, backend }: Pick<JobRecord, 'endpoint' | 'backend'>): string {
  return `${backend}/${endpoint ?? ''}`;
}
