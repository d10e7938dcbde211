import { randomUUID } from 'node:crypto';

import { ComfyUIServiceError, type ErrorCode } from '../errors.ts';
import { isTerminal, type JobSnapshot, type JobSubmission } from '../job.ts';
import { type ExecutionHistory, QUANTILES } from '../policy/execution-history.ts';
import { costOf, dearestCostOf, type JobUsage, type PriceTable } from '../policy/costs.ts';
import { onAbort } from '../policy/on-abort.ts';
import type { Clock } from '../clock.ts';
import { changeJob, type JobChange } from '../store/change-job.ts';
import { hasEnded, type JobCost, type JobPatch, type JobRecord } from '../store/job-record.ts';
import type { JobStore, NewDelivery } from '../store/job-store.ts';
import type { ArtifactStore } from './artifacts.ts';
import type { Backend } from './backend.ts';
import { restorePayload } from './job-payload.ts';
import { historyKey, JobRun, type RunHost } from './job-run.ts';
import { attemptId, billedCard, mergedTimings, toStoredError, toStoredOutput } from './stored-job.ts';
import type { Telemetry } from './telemetry.ts';

/** Milliseconds that a job belongs to the service that looks after it, and between two signs of life. Ours. */
export const LEASE = { ms: 30_000, renewMs: 10_000 } as const;

/** Jobs of others that are taken over at once. */
const ADOPT_AT_ONCE = 100;

/** Milliseconds that a job whose submission nobody can clear up waits for its webhook before it counts as lost. */
const UNKNOWN_PATIENCE_MS = 24 * 60 * 60 * 1000;

/** Failures of the machine, not of the job: another run may succeed. */
const RESTARTABLE: readonly ErrorCode[] = ['worker_lost', 'engine_crashed', 'engine_unavailable'];

/** Milliseconds after which outputs that could not be kept are tried again, and how often. */
const KEEP = { attempts: 3, delayMs: 2_000 } as const;

/** What the engine is made of. */
export interface EngineOptions {
  readonly store: JobStore;
  readonly backends: ReadonlyMap<string, Backend>;
  readonly clock: Clock;
  readonly history: ExecutionHistory;
  readonly artifacts: ArtifactStore | undefined;
  /** Runs of one job that may follow one that died. */
  readonly restarts: number;
  readonly prices: ReadonlyMap<string, PriceTable>;
  /** Address for the backend's webhook of an attempt of a job; undefined without one. */
  readonly webhookUrl: (jobId: string, attempt: number) => string | undefined;
  /** Messages for the application about a job that has ended. */
  readonly deliveriesOf: (job: JobRecord, patch: JobPatch) => readonly NewDelivery[];
  /** Such messages are in the outbox. */
  readonly onDeliveries: () => void;
  readonly telemetry: Telemetry;
}

/** A job that is to be sent, and the backends to try. */
export interface Sending {
  readonly job: Omit<JobSubmission, 'jobId' | 'endpoint' | 'webhookUrl' | 'traceparent'>;
  readonly backends: readonly string[];
  /** Whether the store has what is needed to send it again. */
  readonly isStored?: boolean;
}

/** Sends jobs, looks after them, takes over those that others left, and stores all of it. */
export class JobEngine implements RunHost {
  readonly clock: Clock;
  /** Name under which this service holds jobs. */
  readonly owner = randomUUID();
  readonly #options: EngineOptions;
  readonly #runs = new Map<string, JobRun>();
  /** What is needed to send a job again and is not, or not yet, in the store. */
  readonly #sendings = new Map<string, Sending>();
  /** Jobs that are being sent. */
  readonly #active = new Set<string>();
  /** Jobs that are held here and that nobody looks after, because taking them up failed. */
  readonly #leftOver = new Set<string>();
  readonly #closed = new AbortController();
  readonly #background = new Set<Promise<void>>();
  #cancelTimer: (() => void) | undefined;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.clock = options.clock;
    // As in the service: the listener stays.
    onAbort(this.#closed.signal, () => undefined);
    this.#plan();
  }

  get store(): JobStore {
    return this.#options.store;
  }

  /** Runs of jobs that have not ended. */
  get size(): number {
    return this.#runs.size;
  }

  /** A job's run here, if there is one. */
  run(id: string): JobRun | undefined {
    return this.#runs.get(id);
  }

  /** The backend of that name. Throws `unknown_backend`. */
  backend(name: string): Backend {
    const backend = this.#options.backends.get(name);
    if (backend !== undefined) return backend;
    throw new ComfyUIServiceError(
      'unknown_backend',
      `There is no backend "${name}". There are: ${[...this.#options.backends.keys()].join(', ')}.`,
    );
  }

  /** Whether this service is sending the job. */
  isSending(run: JobRun): boolean {
    return this.#active.has(run.id);
  }

  /** Takes over what nobody looks after, without anybody waiting for it. */
  recoverInBackground(): void {
    void this.#inBackground(() => this.maintain());
  }

  /** A run of a stored job; new ones are not looked after until they are adopted or sent. */
  attach(record: JobRecord): JobRun {
    const known = this.#runs.get(record.id);
    if (known !== undefined) return known;
    const run = new JobRun(this, record, this.backend(record.backend));
    if (!run.hasEnded) this.#runs.set(run.id, run);
    return run;
  }

  /** Looks after a job that the backend has. */
  follow(run: JobRun, isNew: boolean): void {
    const ago = Math.max(0, this.clock.now() - (run.record.submittedAt ?? run.record.createdAt));
    run.follow(this.backend(run.record.backend), {
      webhook: this.#options.webhookUrl(run.id, run.record.attempt) !== undefined,
      ...(isNew ? { submittedAgoMs: ago } : {}),
    });
  }

  /**
   * Sends a stored job that was surely not sent yet: to the first backend that takes it. What a backend surely did not
   * take goes to the next one; what it may have taken is cleared up with the same backend, or is `submission_unknown`.
   */
  async send(run: JobRun, sending: Sending): Promise<void> {
    this.#sendings.set(run.id, sending);
    this.#active.add(run.id);
    try {
      await this.#sendAlong(run, sending);
    } catch (error) {
      // The store failed in between, for instance: it is taken up again.
      if (this.#runs.get(run.id) === run) this.#leftOver.add(run.id);
      throw error;
    } finally {
      this.#active.delete(run.id);
    }
  }

  async #sendAlong(run: JobRun, sending: Sending): Promise<void> {
    const signal = this.#closed.signal;
    const [first = run.record.backend, ...others] = sending.backends;
    let failure: unknown;
    for (const name of [first, ...others]) {
      if (run.record.status === 'canceling') return this.#end(run, { status: 'canceled' });
      if (run.record.submission === 'refused') {
        const back = await this.#change(run, () => ({
          patch: { submission: 'intended', backend: name, providerRef: null },
        }));
        if (!back) return;
      }
      try {
        await this.#sendTo(run, this.backend(name), sending, signal);
        return;
      } catch (error) {
        if (signal.aborted) throw error;
        failure = error;
        const known = ComfyUIServiceError.isInstance(error) ? error : undefined;
        if (known?.code === 'submission_unknown') {
          await this.#letGo(run, error);
          throw error;
        }
        await this.#change(run, () => ({ patch: { submission: 'refused' } }));
        // What is wrong with the job would be wrong everywhere.
        if (known?.retryable !== true && known?.code !== 'unauthorized') break;
      }
    }
    const error = ComfyUIServiceError.isInstance(failure)
      ? failure
      : new ComfyUIServiceError('backend_error', String(failure), { cause: failure });
    await this.#end(run, { status: 'failed', error: toStoredError(error) });
    throw failure;
  }

  async #sendTo(run: JobRun, backend: Backend, sending: Sending, signal: AbortSignal): Promise<void> {
    const job = this.#submissionOf(run.record, sending);
    for (let round = 1; ; round += 1) {
      try {
        const ref = await backend.submit(job, signal);
        await this.submitted(run, ref);
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (!ComfyUIServiceError.isInstance(error) || error.accepted === 'no') throw error;
        const recovered = await this.#recover(run, backend, job, error);
        if (recovered) return;
        // It surely never arrived: the same again, but not for ever.
        if (round >= SEND_ROUNDS || !error.retryable) throw error.with({ accepted: 'no', cause: error });
      }
    }
  }

  /** The attempt of a job that is to be sent now. */
  #submissionOf(record: JobRecord, { job }: Sending): JobSubmission {
    return {
      ...job,
      jobId: attemptId(record.id, record.attempt),
      endpoint: record.endpoint ?? undefined,
      webhookUrl: this.#options.webhookUrl(record.id, record.attempt),
      traceparent: record.traceparent ?? undefined,
    };
  }

  /** Whether the backend has the job after all; throws `submission_unknown` where nobody can tell. */
  async #recover(
    run: JobRun,
    backend: Backend,
    job: JobSubmission,
    error: ComfyUIServiceError,
  ): Promise<boolean> {
    let cause: unknown = error;
    try {
      const found = await backend.recover(job, job.jobId, this.#closed.signal);
      if (found.found === 'yes') await this.submitted(run, found.ref);
      if (found.found !== 'unknown') return found.found === 'yes';
    } catch (problem) {
      this.#closed.signal.throwIfAborted();
      cause = problem;
    }
    await this.#change(run, () => ({ patch: { submission: 'unknown' } }));
    throw submissionUnknown(run, error, cause);
  }

  /** The backend has the job. */
  async submitted(run: JobRun, ref: Readonly<Record<string, string>>): Promise<void> {
    await this.#change(run, (job) =>
      job.submission === 'submitted'
        ? undefined
        : { patch: { submission: 'submitted', providerRef: ref, submittedAt: this.clock.now() } },
    );
    if (run.hasEnded) return;
    // What another run would need is in the store, unless it was too large for that.
    const sending = this.#sendings.get(run.id);
    if (sending?.isStored === true) this.#sendings.delete(run.id);
    this.follow(run, true);
    if (run.record.status === 'canceling')
      await this.backend(run.record.backend).cancel(ref, this.#closed.signal);
  }

  /** Asks for the end of a job. */
  async cancel(run: JobRun, signal: AbortSignal): Promise<void> {
    if (run.hasEnded) return;
    const changed = await this.#change(run, (job) =>
      hasEnded(job) || job.status === 'canceling' ? undefined : { patch: { status: 'canceling' } },
    );
    const { record } = run;
    if (record.providerRef !== null) {
      await run.backend.cancel(record.providerRef, signal);
      run.notice();
    } else if (changed && record.submission === 'refused') {
      await this.#end(run, { status: 'canceled' });
    }
  }

  async learn(run: JobRun, snapshot: JobSnapshot): Promise<void> {
    if (snapshot.movedTo !== undefined) return this.#move(run, snapshot.movedTo);
    if (!isTerminal(snapshot.status)) {
      if (run.record.status !== 'queued' || snapshot.status !== 'running') return;
      await this.#change(run, (job) =>
        job.status === 'queued' ? { patch: { status: 'running', startedAt: this.clock.now() } } : undefined,
      );
      return;
    }
    if (this.#mayRestart(run, snapshot)) return this.#restart(run, snapshot);
    await this.#finish(run, snapshot);
  }

  async lose(run: JobRun, error: unknown): Promise<void> {
    if (this.#closed.signal.aborted || run.hasEnded) return;
    const known = ComfyUIServiceError.isInstance(error) ? error.within(run.context) : undefined;
    if (known?.code === 'job_not_found') {
      const text = `Backend "${run.record.backend}" no longer knows job ${run.id}: ${known.message}`;
      const lost = new ComfyUIServiceError('job_lost', text, { ...run.context, cause: error });
      await this.#end(run, { status: 'lost', error: toStoredError(lost) });
      return;
    }
    await this.#letGo(run, known ?? error);
  }

  notTakenIn(run: JobRun): void {
    if (this.#runs.get(run.id) !== run) return;
    run.unfollow();
    this.#leftOver.add(run.id);
  }

  /** The job may be well: whoever waits must know, and it is looked at anew when it is adopted the next time. */
  async #letGo(run: JobRun, error: unknown): Promise<void> {
    this.#forget(run);
    run.failed(error);
    await this.store.release(this.owner, [run.id]);
  }

  #mayRestart(run: JobRun, { status, error }: JobSnapshot): boolean {
    return (
      status === 'failed' &&
      error !== undefined &&
      RESTARTABLE.includes(error.code) &&
      run.record.attempt <= this.#options.restarts &&
      run.record.status !== 'canceling'
    );
  }

  /** The run is over: the backend said so. Another one begins, under an id of its own. */
  async #restart(run: JobRun, snapshot: JobSnapshot): Promise<void> {
    const sending = await this.#sendingOf(run);
    if (sending === undefined) return this.#finish(run, snapshot);
    const attempt = run.record.attempt + 1;
    // Before the job can be seen without a submission: it is this service that sends it.
    this.#sendings.set(run.id, sending);
    this.#active.add(run.id);
    const begun = {
      attempt,
      submission: 'intended',
      providerRef: null,
      status: 'queued',
      startedAt: null,
    } as const;
    let changed = false;
    try {
      changed = await this.#change(run, (job) =>
        job.attempt >= attempt || job.status === 'canceling' ? undefined : { patch: begun },
      );
    } finally {
      if (!changed) this.#active.delete(run.id);
    }
    if (!changed) {
      this.#sendings.delete(run.id);
      // Somebody canceled it meanwhile: then the run that died was its last.
      if (run.record.status === 'canceling') await this.#finish(run, snapshot);
      return;
    }
    run.restarted(snapshot.error);
    void this.#inBackground(() => this.send(run, { ...sending, backends: [run.record.backend] }));
  }

  async #move(run: JobRun, ref: Readonly<Record<string, string>>): Promise<void> {
    await this.#change(run, () => ({ patch: { providerRef: ref } }));
    if (!run.hasEnded) this.follow(run, false);
  }

  async #finish(run: JobRun, snapshot: JobSnapshot): Promise<void> {
    const { status, error, outputs } = snapshot;
    const kept = status === 'succeeded' ? await this.#keep(run, snapshot) : [];
    const retentionMs = run.backend.adapter.retentionMs;
    const { executionMs, coldStartMs } = snapshot.timings;
    const gpu = billedCard(snapshot.gpu, run.record.gpu);
    const cost = this.#cost(run.record.backend, { gpu, executionMs, coldStartMs });
    await this.#end(
      run,
      {
        status,
        error: error === undefined ? null : toStoredError(error),
        outputs: outputs.map((output, index) => toStoredOutput(output, kept[index] ?? null)),
        timings: mergedTimings(run.record.timings, snapshot),
        metrics: snapshot.metrics ?? null,
        resultExpiresAt: retentionMs === undefined ? null : this.clock.now() + retentionMs,
        ...(cost === undefined ? {} : { cost }),
      },
      snapshot,
    );
    if (status === 'succeeded' && executionMs !== null)
      this.#options.history.record(historyKey(run.record), executionMs);
  }

  async #keep(run: JobRun, { outputs }: JobSnapshot): Promise<JobRecord['outputs'][number]['source'][]> {
    const { artifacts } = this.#options;
    if (artifacts === undefined) return [];
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await Promise.all(
          outputs.map((output, index) => artifacts.save(run.id, index, output, this.#closed.signal)),
        );
      } catch (error) {
        this.#closed.signal.throwIfAborted();
        if (attempt >= KEEP.attempts) {
          this.#options.telemetry.problem('outputs_not_kept', run.id, error);
          return [];
        }
        await this.clock.sleep(KEEP.delayMs, this.#closed.signal);
      }
    }
  }

  /** A guess at what a job will cost: as long as half of the last ones; undefined while too little is known. */
  estimate(endpoint: string | null, backend: string, gpu: string | undefined): JobCost | undefined {
    const quantiles = this.#options.history.quantiles(historyKey({ endpoint, backend }));
    const executionMs = quantiles?.[QUANTILES.indexOf(0.5)];
    return this.#cost(backend, { gpu, executionMs: executionMs ?? null, estimated: true });
  }

  #cost(
    backend: string,
    usage: Pick<JobUsage, 'coldStartMs' | 'estimated'> & {
      readonly executionMs: number | null;
      readonly gpu: string | undefined;
    },
  ): JobCost | undefined {
    const provider = this.backend(backend).adapter.provider;
    const prices = provider === undefined ? undefined : this.#options.prices.get(provider);
    const { executionMs } = usage;
    if (prices === undefined || executionMs === null) return undefined;
    // As endpoint.json has it: `H100`, or `H100:2` for two.
    const [gpu = '', count = '1'] = (usage.gpu ?? '').split(':');
    const used = { ...usage, gpu, gpuCount: Number(count), executionMs };
    return costOf(prices, used) ?? dearestCostOf(prices, used);
  }

  /** Stores the end; whoever was quicker is right. */
  async #end(run: JobRun, patch: JobPatch, snapshot?: JobSnapshot): Promise<void> {
    const applied = await this.#change(run, (job) => {
      if (hasEnded(job)) return undefined;
      const finishedAt = this.clock.now();
      return {
        patch: { ...patch, finishedAt },
        deliveries: this.#options.deliveriesOf(job, { ...patch, finishedAt }),
      };
    });
    this.#forget(run);
    // Where another service was quicker with another end, the snapshot here is not the truth.
    const isTrue = applied || run.record.status === snapshot?.status;
    run.end(isTrue ? snapshot : undefined);
    if (!applied) return;
    this.#options.telemetry.ended(run.record);
    this.#options.onDeliveries();
  }

  /** Whether a change was made here; the run has what is stored now in either case. */
  async #change(run: JobRun, change: (job: JobRecord) => JobChange | undefined): Promise<boolean> {
    const result = await changeJob(this.#cached(run), run.id, change);
    run.record = result.job;
    return result.applied;
  }

  /** The store, asked for a job only when what is known of it was not the newest. */
  #cached(run: JobRun): Pick<JobStore, 'get' | 'update'> {
    const { store } = this.#options;
    return {
      get: () => Promise.resolve(run.record),
      update: (id, version, patch, deliveries) => store.update(id, version, patch, deliveries),
    };
  }

  #forget(run: JobRun): void {
    this.#runs.delete(run.id);
    this.#sendings.delete(run.id);
    this.#leftOver.delete(run.id);
  }

  async #sendingOf(run: JobRun): Promise<Sending | undefined> {
    const known = this.#sendings.get(run.id);
    if (known !== undefined) return known;
    const text = await this.store.payload(run.id);
    if (text === undefined) return undefined;
    return { job: restorePayload(text), backends: [run.record.backend] };
  }

  // -- what others left ------------------------------------------------------------------------------

  /** Renews what this service holds, and takes over what nobody holds. */
  async maintain(): Promise<void> {
    const lease = { owner: this.owner, ms: LEASE.ms };
    await this.#releaseLeftOver();
    await this.store.renew(lease);
    for (let found; found === undefined || found.length === ADOPT_AT_ONCE;) {
      found = await this.store.claim(lease, ADOPT_AT_ONCE);
      await Promise.all(found.map((record) => this.#inBackground(() => this.#adopt(record))));
    }
  }

  /** What could not be taken up may be claimed again, here too: once every round, however soon it fails. */
  async #releaseLeftOver(): Promise<void> {
    const ids = [...this.#leftOver];
    const idle = ids.filter((id) => !this.#active.has(id) && this.#runs.get(id)?.isFollowed !== true);
    if (idle.length > 0) await this.store.release(this.owner, idle);
    for (const id of ids) this.#leftOver.delete(id);
  }

  async #adopt(record: JobRecord): Promise<void> {
    try {
      await this.#takeUp(record);
    } catch (error) {
      this.#leftOver.add(record.id);
      throw error;
    }
  }

  async #takeUp(record: JobRecord): Promise<void> {
    if (!this.#options.backends.has(record.backend)) {
      this.#options.telemetry.problem('unknown_backend', record.id, new Error(record.backend));
      return;
    }
    const run = this.attach(record);
    if (this.isSending(run) || run.isFollowed) return;
    run.record = record;
    if (record.submission === 'submitted') {
      this.follow(run, false);
      return;
    }
    const sending = await this.#sendingOf(run);
    if (record.submission === 'refused') {
      if (sending !== undefined) return this.send(run, sending);
      return this.#declareLost(run, 'it was not sent, and its inputs are not stored');
    }
    const backend = this.backend(record.backend);
    const job = sending === undefined ? undefined : this.#submissionOf(record, sending);
    const found = await backend.recover(job, attemptId(record.id, record.attempt), this.#closed.signal);
    if (found.found === 'yes') return this.submitted(run, found.ref);
    if (found.found === 'no') {
      if (sending !== undefined) return this.send(run, sending);
      return this.#declareLost(run, 'it never arrived, and its inputs are not stored');
    }
    const waitsForWebhook = this.#options.webhookUrl(record.id, record.attempt) !== undefined;
    const age = this.clock.now() - record.createdAt;
    if (!waitsForWebhook || age > UNKNOWN_PATIENCE_MS)
      return this.#declareLost(run, 'the answer to its submission was lost, and the backend has no look-up');
    if (record.submission === 'intended')
      await this.#change(run, () => ({ patch: { submission: 'unknown' } }));
    // Nothing can be done but wait: it is claimed again, and its age looked at, the next time.
    await this.store.release(this.owner, [run.id]);
  }

  async #declareLost(run: JobRun, reason: string): Promise<void> {
    const error = new ComfyUIServiceError('job_lost', `Job ${run.id} is lost: ${reason}.`, {
      ...run.context,
      hint: 'Look for it at the backend before you send it again: a second job would be paid twice.',
    });
    await this.#end(run, { status: 'lost', error: toStoredError(error) });
  }

  #plan(): void {
    this.#cancelTimer = this.clock.setTimer(
      LEASE.renewMs,
      () => {
        void this.#inBackground(() => this.maintain());
        this.#plan();
      },
      { background: true },
    );
  }

  #inBackground(work: () => Promise<void>): Promise<void> {
    const done = work().catch((error: unknown) => {
      if (!this.#closed.signal.aborted) this.#options.telemetry.problem('background', undefined, error);
    });
    this.#background.add(done);
    void done.finally(() => this.#background.delete(done));
    return done;
  }

  /** Stops looking after jobs, and leaves them to others. */
  async close(reason: Error): Promise<void> {
    this.#cancelTimer?.();
    this.#closed.abort(reason);
    for (const run of [...this.#runs.values()]) run.failed(reason);
    this.#runs.clear();
    await Promise.all(this.#background);
    await this.store.release(this.owner).catch(() => undefined);
  }
}

/** Rounds of sending and looking up; each has retries of its own. */
const SEND_ROUNDS = 3;

function submissionUnknown(run: JobRun, error: ComfyUIServiceError, cause: unknown): ComfyUIServiceError {
  return new ComfyUIServiceError(
    'submission_unknown',
    `The answer to the submission of job ${run.id} was lost (${error.message}); it may be running.`,
    {
      ...run.context,
      cause,
      accepted: 'unknown',
      hint: 'Look for it at the backend before you send it again: a second job would be paid twice.',
    },
  );
}
