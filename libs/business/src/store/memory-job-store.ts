import type { Clock } from '../clock.ts';
import { hasEnded, type JobRecord, type JsonValue } from './job-record.ts';
import type { Delivery, JobFilter, JobStore, NewDelivery, StateEntry } from './job-store.ts';
import { intendedJob, transition } from './job-transition.ts';
import {
  checkIntent,
  checkLease,
  checkLimit,
  compareText,
  type CostRow,
  dayOf,
  DURATIONS_OF_LAST,
  fromCursor,
  idempotencyConflict,
  pageLimit,
  type Position,
  toCostSums,
  toCounts,
  toCursor,
  toQuantiles,
} from './query.ts';
import { copyRecord, NANO, parseJson, storableText, toJson } from './record-codec.ts';
import { storeClosed, unknownJob } from './store-error.ts';

interface Held {
  readonly owner: string;
  readonly until: number;
}

/** Options of {@link memoryJobStore}. */
export interface MemoryJobStoreOptions {
  /** Replaced in tests. */
  readonly clock?: Pick<Clock, 'now'>;
}

/** A store in this process's memory, for tests and for jobs that need not outlive the process. */
export function memoryJobStore({ clock = { now: Date.now } }: MemoryJobStoreOptions = {}): JobStore {
  const jobs = new Map<string, JobRecord>();
  const unfinished = new Set<string>();
  const payloads = new Map<string, string>();
  const leases = new Map<string, Held>();
  const names = new Map<string, Held>();
  const state = new Map<string, StateEntry>();
  const outbox = new Map<string, Delivery>();
  const deliveryLeases = new Map<string, Held>();
  const remembered = new Map<string, number>();
  let revision = 0;
  let closed = false;

  /** Every method goes through here: it runs at once and as a whole, and tells its errors by rejection. */
  function whole<T>(work: (now: number) => T): Promise<T> {
    return new Promise((resolve) => {
      if (closed) throw storeClosed();
      resolve(work(clock.now()));
    });
  }

  function isFree(held: Held | undefined, now: number): boolean {
    return held === undefined || held.until <= now;
  }

  function stored(job: JobRecord, foreign: object): JobRecord {
    const kept = copyRecord(job, foreign);
    jobs.set(kept.id, kept);
    return kept;
  }

  function enqueue(jobId: string, delivery: NewDelivery, now: number): void {
    if (outbox.has(delivery.id)) return;
    outbox.set(delivery.id, {
      ...delivery,
      payload: storableText(delivery.payload),
      nextAttemptAt: delivery.nextAttemptAt ?? now,
      jobId,
      state: 'pending',
      attempts: 0,
      createdAt: now,
      lastError: null,
    });
  }

  function matching(filter: JobFilter): JobRecord[] {
    return [...jobs.values()].filter((job) => matches(job, filter));
  }

  const store: JobStore = {
    create: (intent, lease) =>
      whole((now) => {
        checkIntent(intent);
        if (lease !== undefined) checkLease(lease);
        const known = jobs.get(intent.id);
        if (known !== undefined) {
          if (known.payloadHash !== intent.payloadHash) throw idempotencyConflict(intent.id);
          return { job: known, created: false };
        }
        const job = stored(intendedJob(intent, now), intent);
        unfinished.add(job.id);
        if (intent.payload !== undefined) payloads.set(job.id, storableText(intent.payload));
        if (lease !== undefined) leases.set(job.id, { owner: lease.owner, until: now + lease.ms });
        return { job, created: true };
      }),
    get: (id) => whole(() => jobs.get(id)),
    payload: (id) => whole(() => payloads.get(id)),
    update: (id, version, patch, deliveries = []) =>
      whole((now) => {
        const known = jobs.get(id);
        if (known === undefined) throw unknownJob(id);
        const result = transition(known, version, patch, now);
        if (!result.applied) return result;
        const job = stored(result.job, patch);
        if (hasEnded(job)) for (const map of [unfinished, payloads, leases]) map.delete(id);
        for (const delivery of deliveries) enqueue(id, delivery, now);
        return { applied: true, job };
      }),

    claim: (lease, limit) =>
      whole((now) => {
        checkLease(lease);
        checkLimit(limit);
        const taken = [...unfinished]
          .flatMap((id) => jobs.get(id) ?? [])
          .filter(({ id }) => isFree(leases.get(id), now))
          .sort((a, b) => newestFirst(b, a))
          .slice(0, limit);
        for (const { id } of taken) leases.set(id, { owner: lease.owner, until: now + lease.ms });
        return taken;
      }),
    renew: (lease) =>
      whole((now) => {
        checkLease(lease);
        const mine = [...leases].flatMap(([id, { owner }]) => (owner === lease.owner ? [id] : []));
        for (const id of mine) leases.set(id, { owner: lease.owner, until: now + lease.ms });
        return mine.sort(compareText);
      }),
    release: (owner, ids) =>
      whole(() => {
        for (const id of ids ?? [...leases.keys()]) if (leases.get(id)?.owner === owner) leases.delete(id);
      }),

    list: (filter = {}, page = {}) =>
      whole(() => {
        const limit = pageLimit(page.limit);
        const after = fromCursor(page.cursor);
        const found = matching(filter)
          .filter((job) => after === undefined || newestFirst(after, job) < 0)
          .sort(newestFirst);
        const shown = found.slice(0, limit);
        const last = shown.at(-1);
        return { jobs: shown, next: last !== undefined && found.length > limit ? toCursor(last) : undefined };
      }),
    count: (filter = {}) =>
      whole(() => {
        const groups = Object.groupBy(matching(filter), ({ status }) => status);
        return toCounts(
          Object.entries(groups).map(([status, members]) => ({ status, jobs: members.length })),
        );
      }),
    costs: (by, filter = {}) =>
      whole(() => {
        const rows = new Map<string | number | null, CostRow>();
        for (const job of matching(filter)) {
          if (job.cost === null) continue;
          const key = by === 'day' ? dayOf(job.createdAt) : job[by];
          const row = rows.get(key) ?? { key, jobs: 0, nano: 0 };
          rows.set(key, { key, jobs: row.jobs + 1, nano: row.nano + Math.round(job.cost.usd * NANO) });
        }
        return toCostSums(by, [...rows.values()]);
      }),
    durations: ({ endpoint, backend, last = DURATIONS_OF_LAST }, quantiles) =>
      whole(() => {
        const times = matching({ endpoint, backend, status: ['succeeded'] })
          .sort((a, b) => (b.finishedAt ?? 0) - (a.finishedAt ?? 0))
          .flatMap(({ timings }) => timings.executionMs ?? [])
          .slice(0, checkLimit(last));
        return toQuantiles(times, quantiles);
      }),

    acquireLease: (name, lease) =>
      whole((now) => {
        checkLease(lease);
        const held = names.get(name);
        if (held?.owner !== lease.owner && !isFree(held, now)) return false;
        names.set(name, { owner: lease.owner, until: now + lease.ms });
        return true;
      }),
    releaseLease: (name, owner) =>
      whole(() => {
        if (names.get(name)?.owner === owner) names.delete(name);
      }),

    getState: (key) => whole(() => state.get(key)),
    listState: (prefix) =>
      whole(() =>
        [...state.values()]
          .filter(({ key }) => key.startsWith(prefix))
          .sort((a, b) => compareText(a.key, b.key)),
      ),
    setState: (key, value, version) =>
      whole(() => {
        const known = state.get(key);
        if ((known?.version ?? 0) !== version) return { applied: false, entry: known };
        const kept: JsonValue = parseJson(toJson(value));
        const entry = { key, value: kept, version: version + 1 };
        state.set(key, entry);
        revision += 1;
        return { applied: true, entry };
      }),
    stateRevision: () => whole(() => revision),

    claimDeliveries: (lease, limit) =>
      whole((now) => {
        checkLease(lease);
        const due = [...outbox.values()]
          .filter(
            ({ id, state: at, nextAttemptAt }) =>
              at === 'pending' && nextAttemptAt <= now && isFree(deliveryLeases.get(id), now),
          )
          .sort((a, b) => a.nextAttemptAt - b.nextAttemptAt || compareText(a.id, b.id))
          .slice(0, checkLimit(limit))
          .map((delivery) => ({ ...delivery, attempts: delivery.attempts + 1 }));
        for (const delivery of due) {
          outbox.set(delivery.id, delivery);
          deliveryLeases.set(delivery.id, { owner: lease.owner, until: now + lease.ms });
        }
        return due;
      }),
    settleDelivery: (id, owner, outcome) =>
      whole(() => {
        const known = outbox.get(id);
        if (known?.state !== 'pending' || deliveryLeases.get(id)?.owner !== owner) return false;
        const { state: at } = outcome;
        outbox.set(id, {
          ...known,
          state: at,
          nextAttemptAt: at === 'pending' ? outcome.nextAttemptAt : known.nextAttemptAt,
          lastError: at === 'delivered' ? null : storableText(outcome.error),
        });
        deliveryLeases.delete(id);
        return true;
      }),
    deliveries: (jobId) =>
      whole(() =>
        [...outbox.values()]
          .filter((delivery) => delivery.jobId === jobId)
          .sort((a, b) => a.createdAt - b.createdAt || compareText(a.id, b.id)),
      ),
    rememberDelivery: (id) =>
      whole((now) => {
        if (remembered.has(id)) return false;
        remembered.set(id, now);
        return true;
      }),

    prune: (before) =>
      whole(() => {
        const messages = [...outbox.values()];
        const open = new Set(messages.flatMap(({ jobId, state: at }) => (at === 'pending' ? [jobId] : [])));
        const gone = new Set(
          [...jobs.values()].flatMap(({ id, finishedAt }) =>
            finishedAt !== null && finishedAt < before && !open.has(id) ? [id] : [],
          ),
        );
        for (const { id, jobId } of messages) if (gone.has(jobId)) outbox.delete(id);
        for (const id of gone) jobs.delete(id);
        const old = [...remembered].flatMap(([id, at]) => (at < before ? [id] : []));
        for (const id of old) remembered.delete(id);
        return { jobs: gone.size, deliveries: old.length };
      }),
    close() {
      closed = true;
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => store.close(),
  };
  return store;
}

function matches(job: JobRecord, filter: JobFilter): boolean {
  return (
    (filter.endpoint === undefined || job.endpoint === filter.endpoint) &&
    (filter.backend === undefined || job.backend === filter.backend) &&
    (filter.status === undefined || filter.status.includes(job.status)) &&
    (filter.since === undefined || job.createdAt >= filter.since) &&
    (filter.until === undefined || job.createdAt < filter.until) &&
    (filter.tag === undefined || job.tags.includes(filter.tag))
  );
}

function newestFirst(a: Position, b: Position): number {
  return b.createdAt - a.createdAt || compareText(b.id, a.id);
}
