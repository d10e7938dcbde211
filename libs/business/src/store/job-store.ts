import type { JobIntent, JobPatch, JobRecord, JsonValue, StoredJobStatus } from './job-record.ts';
import type { Transition } from './job-transition.ts';

/** A claim on something for a time: `ms` milliseconds from now by the store's clock. */
export interface Lease {
  /** Who holds it; unique to one running service. */
  readonly owner: string;
  readonly ms: number;
}

/** Which jobs; fields that are absent do not filter. */
export interface JobFilter {
  /** `null`: jobs of bare workflows. */
  readonly endpoint?: string | null;
  readonly backend?: string;
  readonly status?: readonly StoredJobStatus[];
  /** Created at or after; milliseconds since 1970. */
  readonly since?: number;
  /** Created before; milliseconds since 1970. */
  readonly until?: number;
  readonly tag?: string;
}

/** A page of a list. */
export interface JobPage {
  /** Newest first; jobs of the same millisecond by id. */
  readonly jobs: readonly JobRecord[];
  /** Where the next page begins; undefined on the last one. */
  readonly next: string | undefined;
}

/** What jobs cost, by endpoint, backend or day. */
export interface CostSum {
  /** Endpoint (`null`: bare workflows), backend, or the UTC day of creation as `YYYY-MM-DD`. */
  readonly key: string | null;
  /** Jobs that have a cost. */
  readonly jobs: number;
  /** US dollars, summed in billionths; estimates of jobs that have no real cost yet included. */
  readonly usd: number;
}

/** Execution times of the last jobs that succeeded. */
export interface DurationQuantiles {
  /** How many jobs the figures stand on. */
  readonly count: number;
  /** Milliseconds, one for every quantile that was asked for; empty when `count` is 0. */
  readonly executionMs: readonly number[];
}

/** A message to the application's webhook, to be handed to the outbox. */
export interface NewDelivery {
  /** Unique; the same id is stored once. */
  readonly id: string;
  readonly url: string;
  /** The body, as it is signed and sent. */
  readonly payload: string;
  /** Milliseconds since 1970; now when absent. */
  readonly nextAttemptAt?: number;
}

/** A message in the outbox. */
export interface Delivery extends Required<NewDelivery> {
  readonly jobId: string;
  readonly state: 'pending' | 'delivered' | 'dead';
  /** How often it was claimed; a crash in the middle of sending counts. */
  readonly attempts: number;
  readonly createdAt: number;
  readonly lastError: string | null;
}

/** How an attempt to deliver ended. */
export type DeliveryOutcome =
  | { readonly state: 'delivered' }
  | { readonly state: 'pending'; readonly nextAttemptAt: number; readonly error: string }
  | { readonly state: 'dead'; readonly error: string };

/** A value of the key-value state. */
export interface StateEntry {
  readonly key: string;
  readonly value: JsonValue;
  /** 1 when it was first set, and one more with every change. */
  readonly version: number;
}

/** What {@link JobStore.prune} deleted. */
export interface Pruned {
  readonly jobs: number;
  /** Remembered inbound deliveries. */
  readonly deliveries: number;
}

/**
 * Where jobs are kept. Several services may share one store.
 *
 * A promise that resolves means *on disk*: intent, changes and outbox survive a SIGKILL or power cut right after it.
 * A rejection with `store_unavailable` leaves open whether the write is stored: `create` may be repeated, for the
 * others read first. All errors are `JobStoreError`. Times are milliseconds, moments since 1970, by the store's clock.
 */
export interface JobStore extends AsyncDisposable {
  /**
   * Stores a job before its first byte is sent. The same id with the same `payloadHash` gives the stored job and
   * `created: false`, and no lease. With a lease, no other service can claim the job while its creator sends it.
   *
   * @throws `idempotency_conflict` for the same id with another hash; `invalid_argument` for an id that is no UUID.
   */
  create(intent: JobIntent, lease?: Lease): Promise<{ readonly job: JobRecord; readonly created: boolean }>;
  /** The job; undefined when there is none. */
  get(id: string): Promise<JobRecord | undefined>;
  /** What the intent held for sending the job again; undefined once it has ended. */
  payload(id: string): Promise<string | undefined>;
  /**
   * Changes a job where it still has that `version` and may go there; otherwise tells what is stored, and why. When it
   * ends, its lease and payload go. `deliveries` enter the outbox in the same transaction, or not at all.
   *
   * `changeJob` wraps this for changes that are worked out from what is stored.
   *
   * @throws `unknown_job`.
   */
  update(
    id: string,
    version: number,
    patch: JobPatch,
    deliveries?: readonly NewDelivery[],
  ): Promise<Transition>;

  /**
   * Takes up to `limit` jobs that have not ended and that nobody holds, or whose holder's lease has run out; oldest
   * first. Two services never get the same one. An owner that starts again under its old name calls {@link release}
   * first; under a new name it waits for the old leases to run out.
   */
  claim(lease: Lease, limit: number): Promise<readonly JobRecord[]>;
  /** Holds the owner's jobs for longer, and says which they are: what is missing now belongs to another, or has ended. */
  renew(lease: Lease): Promise<readonly string[]>;
  /** Lets jobs go, for others to claim at once; all of the owner's when `ids` is absent. */
  release(owner: string, ids?: readonly string[]): Promise<void>;

  /**
   * Jobs, newest first; 100 on a page that names no limit, 1,000 at most. Jobs that come in between two pages neither move nor repeat others.
   *
   * @throws `invalid_argument` for a cursor that is not one.
   */
  list(
    filter?: JobFilter,
    page?: { readonly cursor?: string | undefined; readonly limit?: number },
  ): Promise<JobPage>;
  /** How many jobs are in each state. */
  count(filter?: JobFilter): Promise<Readonly<Record<StoredJobStatus, number>>>;
  /** What jobs cost, attributed to the moment of their creation; keys in ascending order, `null` first. */
  costs(by: 'endpoint' | 'backend' | 'day', filter?: JobFilter): Promise<readonly CostSum[]>;
  /**
   * Quantiles (0 to 1, nearest rank) of the execution time of the last jobs of an endpoint on a backend that succeeded.
   *
   * @param last how many jobs to look at; 200 when absent.
   */
  durations(
    of: { readonly endpoint: string | null; readonly backend: string; readonly last?: number },
    quantiles: readonly number[],
  ): Promise<DurationQuantiles>;

  /** Takes or renews the lease on a name that only one owner may hold; false while another holds it. */
  acquireLease(name: string, lease: Lease): Promise<boolean>;
  /** Gives a named lease back; nothing when another holds it. */
  releaseLease(name: string, owner: string): Promise<void>;

  /** A value of the key-value state (effective stages, routes). */
  getState(key: string): Promise<StateEntry | undefined>;
  /** All values whose key begins with `prefix`, by key. */
  listState(prefix: string): Promise<readonly StateEntry[]>;
  /** Sets a value where it still has that version (0: where there is none yet); otherwise tells what is stored. */
  setState(
    key: string,
    value: JsonValue,
    version: number,
  ): Promise<{ readonly applied: boolean; readonly entry: StateEntry | undefined }>;
  /** Grows with every change of the state: one cheap read tells whether anything has to be read again. */
  stateRevision(): Promise<number>;

  /** Takes messages of the outbox that are due and that nobody holds, the longest due first. */
  claimDeliveries(lease: Lease, limit: number): Promise<readonly Delivery[]>;
  /** Notes how an attempt ended; false, and nothing noted, when the lease went to another in between. */
  settleDelivery(id: string, owner: string, outcome: DeliveryOutcome): Promise<boolean>;
  /** All messages about a job, oldest first. */
  deliveries(jobId: string): Promise<readonly Delivery[]>;
  /**
   * Remembers an inbound webhook by its id: true the first time, false from then on. It is a memory of what was
   * received, kept until {@link prune}: apply what the webhook says first, which is safe to repeat, then remember it.
   */
  rememberDelivery(id: string): Promise<boolean>;

  /**
   * Deletes jobs that ended before a moment, with their outbox, and inbound deliveries remembered before it. A job
   * with a message that is still to be delivered stays. Costs of deleted jobs are no longer in {@link costs}.
   */
  prune(before: number): Promise<Pruned>;
  /** Writes what is under way and closes. Later calls reject with `store_closed`. */
  close(): Promise<void>;
}
