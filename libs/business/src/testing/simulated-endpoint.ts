import { ComfyUIServiceError } from '../errors.ts';
import type { JobSnapshot, JobStatus } from '../job.ts';
import type { RateLimit } from '../policy/request-window.ts';
import type { ManualClock } from './manual-clock.ts';

/** What a {@link SimulatedEndpoint} is like. Times are milliseconds. */
export interface SimulatedEndpointOptions {
  readonly clock: ManualClock;
  /** Its limit on status calls, kept over every stretch of time to the millisecond. */
  readonly statusLimit: RateLimit;
  /** Jobs that run at once. */
  readonly workers: number;
  /** How long a job runs. */
  readonly execution: () => number;
  /** How long it keeps a result. */
  readonly retentionMs: number;
  /** The way of a message to it and of one back; each is drawn anew. */
  readonly latency: () => number;
  /** Where its webhooks arrive. */
  readonly webhook?: (id: string) => void;
}

interface SimulatedJob {
  status: JobStatus;
  endedAt: number;
}

/** A strict RunPod endpoint without a network, on a manual clock: for tests of policies with many jobs. */
export class SimulatedEndpoint {
  readonly #options: SimulatedEndpointOptions;
  readonly #jobs = new Map<string, SimulatedJob>();
  readonly #queue: string[] = [];
  readonly #calls: number[] = [];
  #oldestCall = 0;
  #busy = 0;
  #concurrent = 0;
  /** Status calls that it received. */
  statusCalls = 0;
  /** Status calls that it refused with 429. */
  refused = 0;
  /** While true, no status call is answered. */
  isDown = false;

  constructor(options: SimulatedEndpointOptions) {
    this.#options = options;
  }

  submit(id: string): void {
    this.#jobs.set(id, { status: 'queued', endedAt: Infinity });
    this.#queue.push(id);
    this.#assign();
  }

  /** When a job ended; Infinity for one that has not. */
  endedAt(id: string): number {
    return this.#jobs.get(id)?.endedAt ?? Infinity;
  }

  async status(id: string, signal: AbortSignal): Promise<JobSnapshot> {
    const { clock, latency } = this.#options;
    await clock.sleep(latency(), signal);
    const answer = this.#answer(id);
    await clock.sleep(latency(), signal);
    this.#concurrent -= 1;
    if (answer instanceof Error) throw answer;
    return snapshot(answer);
  }

  #answer(id: string): JobStatus | Error {
    const { clock, statusLimit, retentionMs } = this.#options;
    const now = clock.monotonic();
    this.statusCalls += 1;
    this.#concurrent += 1;
    this.#calls.push(now);
    while ((this.#calls[this.#oldestCall] ?? Infinity) <= now - statusLimit.perMs) this.#oldestCall += 1;
    const tooMany = this.#calls.length - this.#oldestCall > statusLimit.requests;
    if (tooMany || this.#concurrent > (statusLimit.concurrent ?? Infinity)) {
      this.refused += 1;
      return new ComfyUIServiceError('rate_limited', '429', { retryable: true, accepted: 'no' });
    }
    if (this.isDown) return new ComfyUIServiceError('backend_error', '503', { retryable: true });
    const job = this.#jobs.get(id);
    if (job === undefined || now > job.endedAt + retentionMs)
      return new ComfyUIServiceError('job_not_found', '404');
    return job.status;
  }

  #assign(): void {
    const { clock, workers, execution } = this.#options;
    while (this.#busy < workers) {
      const id = this.#queue.shift();
      if (id === undefined) return;
      this.#busy += 1;
      const job = this.#jobs.get(id);
      if (job !== undefined) job.status = 'running';
      clock.setTimer(execution(), () => this.#finish(id));
    }
  }

  #finish(id: string): void {
    const { clock, webhook, latency } = this.#options;
    this.#busy -= 1;
    const job = this.#jobs.get(id);
    if (job !== undefined) {
      job.status = 'succeeded';
      job.endedAt = clock.monotonic();
    }
    if (webhook !== undefined) clock.setTimer(latency(), () => webhook(id));
    this.#assign();
  }
}

function snapshot(status: JobStatus): JobSnapshot {
  return {
    status,
    queuePosition: undefined,
    progress: undefined,
    outputs: [],
    error: undefined,
    timings: { queueMs: null, coldStartMs: null, executionMs: null },
  };
}
