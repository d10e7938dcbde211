import { type Clock, hasEnded, type JobRecord, type JobStore } from '@ryla/business';

import { type Observation, observe, SHADOW_TAG } from './observation.ts';

/** Jobs on a page of the store's list. */
const PAGE = 1_000;

/** Milliseconds after which a shadow job without a verdict on its pictures gets none any more. */
const PARITY_MS = 60 * 60 * 1_000;

/** What the jobs of one endpoint told. Asked again, it reads only what may have changed. */
export class JobHistory {
  readonly #observations = new Map<string, Observation>();
  #reading: Promise<void> = Promise.resolve();
  readonly #store: Pick<JobStore, 'list'>;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #endpoint: string;
  #from: number | undefined;
  #watermark = 0;
  #unfinished: readonly JobRecord[] = [];

  constructor(store: Pick<JobStore, 'list'>, endpoint: string, clock: Pick<Clock, 'now'>) {
    this.#store = store;
    this.#endpoint = endpoint;
    this.#clock = clock;
  }

  /**
   * All jobs created since a moment that tell something, in the order in which they became known.
   *
   * @param since milliseconds since 1970.
   */
  async since(since: number, stuckAfterMs: number): Promise<readonly Observation[]> {
    // One reader at a time: both would move the watermark.
    const reading = this.#reading.then(() => this.#read(since, stuckAfterMs));
    this.#reading = reading.catch(() => undefined);
    await reading;
    return [...this.#observations.values()]
      .filter(({ createdAt }) => createdAt >= since)
      .sort((a, b) => a.knownAt - b.knownAt || (a.id < b.id ? -1 : 1));
  }

  /** Jobs that had not ended when the store was last read. */
  get unfinished(): readonly JobRecord[] {
    return this.#unfinished;
  }

  async #read(since: number, stuckAfterMs: number): Promise<void> {
    if (this.#from === undefined || since < this.#from) this.#watermark = since;
    this.#from = since;
    for (const [id, { createdAt }] of this.#observations)
      if (createdAt < since) this.#observations.delete(id);
    const now = this.#clock.now();
    const unfinished: JobRecord[] = [];
    let oldestOpen = now;
    let cursor: string | undefined;
    do {
      const page = await this.#store.list(
        { endpoint: this.#endpoint, since: this.#watermark },
        { limit: PAGE, cursor },
      );
      for (const job of page.jobs) {
        const observation = observe(job, now, stuckAfterMs);
        if (observation !== undefined) this.#observations.set(job.id, observation);
        if (!hasEnded(job)) unfinished.push(job);
        if (isOpen(job, now)) oldestOpen = Math.min(oldestOpen, job.createdAt);
      }
      cursor = page.next;
    } while (cursor !== undefined);
    this.#unfinished = unfinished;
    // A job of the same millisecond may still come in.
    this.#watermark = Math.max(this.#watermark, oldestOpen - 1_000);
  }
}

/** Whether something may still be learnt of a job. */
function isOpen(job: JobRecord, now: number): boolean {
  if (!hasEnded(job)) return true;
  return job.tags.includes(SHADOW_TAG) && now - (job.finishedAt ?? now) < PARITY_MS;
}
