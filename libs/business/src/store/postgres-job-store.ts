/** `@ryla/business/postgres`: the job store for several machines. Needs the package `pg`. */
import type { Clock } from '../clock.ts';
import type { JobRecord } from './job-record.ts';
import type { JobFilter, JobStore, StateEntry } from './job-store.ts';
import { intendedJob, transition } from './job-transition.ts';
import { PostgresConnection, type PostgresRow } from './postgres-connection.ts';
import {
  checkIntent,
  checkLease,
  checkLimit,
  compareText,
  DURATIONS_OF_LAST,
  fromCursor,
  idempotencyConflict,
  pageLimit,
  toCostSums,
  toCounts,
  toCursor,
  toQuantiles,
} from './query.ts';
import { checkRecord, encodeRecord, storableText, toJson } from './record-codec.ts';
import { toDelivery, toState } from './row.ts';
import { unknownJob } from './store-error.ts';

/** Jobs that one transaction of `prune` deletes. */
const PRUNE_GROUP = 500;

/** Options of {@link postgresJobStore}. */
export interface PostgresJobStoreOptions {
  /**
   * `postgres://user:password@host:port/database`, with whatever else `pg` understands. Through PgBouncer in transaction
   * mode, it must be 1.21 or newer: statements are prepared by name.
   */
  readonly connectionString: string;
  /** Schema of the store's tables, made when it is not there; `ryla` when absent. */
  readonly schema?: string;
  /** Connections that are open at once; 10 when absent. */
  readonly maxConnections?: number;
  /** Replaced in tests; the database's clock otherwise, so that services on several machines agree. */
  readonly clock?: Pick<Clock, 'now'>;
}

/**
 * The moment of a statement: `$1` where a clock is injected, the database's otherwise. Every statement that needs the
 * time begins with it.
 */
const MOMENT = `moment AS MATERIALIZED (
  SELECT coalesce($1::bigint, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now
)`;

/**
 * A store in a PostgreSQL database (12 or newer) that services on several machines share. Every call is one statement,
 * so it never leaves half of something behind; writes of many callers share the fsyncs of PostgreSQL's own group commit.
 *
 * @throws {JobStoreError} `store_unavailable`, `store_not_durable`, `store_too_new`, `invalid_argument`.
 */
export async function postgresJobStore(options: PostgresJobStoreOptions): Promise<JobStore> {
  const { connectionString, schema = 'ryla', maxConnections = 10 } = options;
  const connection = new PostgresConnection(connectionString, schema, maxConnections);
  try {
    await connection.migrate();
  } catch (error) {
    await connection.close();
    throw error;
  }
  return createStore(connection, options.clock);
}

function createStore(connection: PostgresConnection, clock: Pick<Clock, 'now'> | undefined): JobStore {
  const query = connection.query.bind(connection);

  /** Runs a statement whose `$1` is the moment. */
  function timed(text: string, ...values: readonly unknown[]): Promise<readonly PostgresRow[]> {
    return query(text, [clock === undefined ? null : Math.trunc(clock.now()), ...values]);
  }

  async function find(id: string): Promise<JobRecord | undefined> {
    const [row] = await query('SELECT record FROM @jobs WHERE id = $1', [id]);
    return row === undefined ? undefined : toJob(row);
  }

  async function stateOf(key: string): Promise<StateEntry | undefined> {
    const [row] = await query('SELECT key, value, version FROM @state WHERE key = $1', [key]);
    return row === undefined ? undefined : toState(row);
  }

  const store: JobStore = {
    async create(intent, lease) {
      checkIntent(intent);
      if (lease !== undefined) checkLease(lease);
      const payload = intent.payload === undefined ? null : storableText(intent.payload);
      for (;;) {
        const [made] = await timed(
          `WITH ${MOMENT}, made AS (
             INSERT INTO @jobs (id, version, record)
             SELECT $2, 1, $3::jsonb || jsonb_build_object('createdAt', now) FROM moment
             ON CONFLICT (id) DO NOTHING RETURNING id, record
           ), leased AS (
             INSERT INTO @job_leases SELECT id, $4::text, now + $5::bigint FROM made, moment
             WHERE $4::text IS NOT NULL
           ), kept AS (
             INSERT INTO @job_payloads SELECT id, $6::text FROM made WHERE $6::text IS NOT NULL
           ) SELECT record FROM made`,
          intent.id,
          encodeRecord(intendedJob(intent, 0)).text,
          lease?.owner ?? null,
          lease?.ms ?? null,
          payload,
        );
        if (made !== undefined) return { job: toJob(made), created: true };
        const job = await find(intent.id);
        // Pruned in between: then it can be made.
        if (job === undefined) continue;
        if (job.payloadHash !== intent.payloadHash) throw idempotencyConflict(intent.id);
        return { job, created: false };
      }
    },
    get: find,
    async payload(id) {
      const [row] = await query('SELECT payload FROM @job_payloads WHERE job_id = $1', [id]);
      return row === undefined ? undefined : String(row['payload']);
    },
    async update(id, version, patch, deliveries = []) {
      const [row] = await timed(`WITH ${MOMENT} SELECT record, now FROM @jobs, moment WHERE id = $2`, id);
      if (row === undefined) throw unknownJob(id);
      const now = Number(row['now']);
      const result = transition(toJob(row), version, patch, now);
      if (!result.applied) return result;
      const { text, job } = encodeRecord(result.job);
      const messages = deliveries.map(({ nextAttemptAt = now, payload, ...rest }) => ({
        ...rest,
        payload: storableText(payload),
        next_attempt_at: nextAttemptAt,
      }));
      const [changed] = await query(
        `WITH changed AS (
           UPDATE @jobs SET version = version + 1, record = $3::jsonb WHERE id = $1 AND version = $2
           RETURNING id, finished_at
         ), freed AS (
           DELETE FROM @job_leases USING changed WHERE job_id = changed.id AND finished_at IS NOT NULL
         ), dropped AS (
           DELETE FROM @job_payloads USING changed WHERE job_id = changed.id AND finished_at IS NOT NULL
         ), told AS (
           INSERT INTO @outbox
             (id, job_id, url, payload, state, attempts, next_attempt_at, created_at, lease_until)
           SELECT message.id, changed.id, url, payload, 'pending', 0, next_attempt_at, $5, 0
           FROM changed, jsonb_to_recordset($4::jsonb)
             AS message (id text, url text, payload text, next_attempt_at bigint)
           ON CONFLICT DO NOTHING
         ) SELECT id FROM changed`,
        [id, version, text, toJson(messages), now],
      );
      if (changed !== undefined) return { applied: true, job };
      const stored = await find(id);
      if (stored === undefined) throw unknownJob(id);
      return { applied: false, reason: 'stale_version', job: stored };
    },

    async claim(lease, limit) {
      checkLease(lease);
      // Who reads an older state of the leases than there is gets stopped by the condition of the upsert.
      const rows = await timed(
        `WITH ${MOMENT}, free AS (
           SELECT id FROM @jobs, moment WHERE finished_at IS NULL AND NOT EXISTS (
             SELECT 1 FROM @job_leases WHERE job_id = id AND until > now
           ) ORDER BY created_at, id LIMIT $4 FOR UPDATE OF jobs SKIP LOCKED
         ), taken AS (
           INSERT INTO @job_leases AS held SELECT id, $2, now + $3::bigint FROM free, moment
           ON CONFLICT (job_id) DO UPDATE SET owner = excluded.owner, until = excluded.until
             WHERE held.until <= (SELECT now FROM moment)
           RETURNING job_id
         ) SELECT record FROM @jobs JOIN taken ON job_id = id ORDER BY created_at, id`,
        lease.owner,
        lease.ms,
        checkLimit(limit),
      );
      return rows.map(toJob);
    },
    async renew(lease) {
      checkLease(lease);
      const rows = await timed(
        `WITH ${MOMENT}, mine AS (
           SELECT job_id FROM @job_leases WHERE owner = $2 ORDER BY job_id FOR UPDATE
         ) UPDATE @job_leases AS held SET until = now + $3::bigint FROM mine, moment, @jobs
           WHERE held.job_id = mine.job_id AND id = held.job_id AND finished_at IS NULL
           RETURNING held.job_id`,
        lease.owner,
        lease.ms,
      );
      return rows.map((row) => String(row['job_id'])).sort(compareText);
    },
    async release(owner, ids) {
      await query(
        'DELETE FROM @job_leases WHERE owner = $1 AND ($2::text[] IS NULL OR job_id = ANY ($2::text[]))',
        [owner, ids ?? null],
      );
    },

    async list(filter = {}, page = {}) {
      const limit = pageLimit(page.limit);
      const after = fromCursor(page.cursor);
      const where = new Conditions(filter);
      if (after !== undefined)
        where.add((value) => `(created_at, id) < (${value(after.createdAt)}, ${value(after.id)})`);
      const rows = await query(
        `SELECT record FROM @jobs ${where.text} ORDER BY created_at DESC, id DESC LIMIT ${where.value(limit + 1)}`,
        where.values,
      );
      const shown = rows.slice(0, limit).map(toJob);
      const last = shown.at(-1);
      return { jobs: shown, next: last !== undefined && rows.length > limit ? toCursor(last) : undefined };
    },
    async count(filter = {}) {
      const where = new Conditions(filter);
      const rows = await query(
        `SELECT status, count(*) AS jobs FROM @jobs ${where.text} GROUP BY status`,
        where.values,
      );
      return toCounts(rows.map((row) => ({ status: String(row['status']), jobs: Number(row['jobs']) })));
    },
    async costs(by, filter = {}) {
      const where = new Conditions(filter);
      where.add(() => 'cost_nano_usd IS NOT NULL');
      const rows = await query(
        `SELECT (${COST_KEYS[by]})::text AS key, count(*) AS jobs, sum(cost_nano_usd) AS nano
         FROM @jobs ${where.text} GROUP BY 1`,
        where.values,
      );
      return toCostSums(
        by,
        rows.map(({ key, jobs, nano }) => ({
          key: typeof key === 'string' ? key : null,
          jobs: Number(jobs),
          nano: Number(nano),
        })),
      );
    },
    async durations({ endpoint, backend, last = DURATIONS_OF_LAST }, quantiles) {
      const where = new Conditions({ endpoint, backend });
      const rows = await query(
        `SELECT execution_ms FROM @jobs ${where.text}
           AND status = 'succeeded' AND execution_ms IS NOT NULL
         ORDER BY finished_at DESC LIMIT ${where.value(checkLimit(last))}`,
        where.values,
      );
      return toQuantiles(
        rows.map((row) => Number(row['execution_ms'])),
        quantiles,
      );
    },

    async acquireLease(name, lease) {
      checkLease(lease);
      const rows = await timed(
        `WITH ${MOMENT} INSERT INTO @named_leases AS held SELECT $2, $3, now + $4::bigint FROM moment
         ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
           WHERE held.owner = excluded.owner OR held.until <= (SELECT now FROM moment)
         RETURNING name`,
        name,
        lease.owner,
        lease.ms,
      );
      return rows.length > 0;
    },
    async releaseLease(name, owner) {
      await query('DELETE FROM @named_leases WHERE name = $1 AND owner = $2', [name, owner]);
    },

    getState: stateOf,
    async listState(prefix) {
      const rows = await query(
        'SELECT key, value, version FROM @state WHERE starts_with(key, $1) ORDER BY key',
        [prefix],
      );
      return rows.map(toState);
    },
    async setState(key, value, version) {
      // The row of the revision is locked until the commit: who reads a revision also reads what led to it.
      const [row] = await query(
        `WITH made AS (
           INSERT INTO @state (key, value, version) SELECT $1, $2, 1 WHERE $3::bigint = 0 ON CONFLICT DO NOTHING
           RETURNING key, value, version
         ), changed AS (
           UPDATE @state SET value = $2, version = version + 1 WHERE key = $1 AND version = $3::bigint
           RETURNING key, value, version
         ), entry AS (
           SELECT * FROM made UNION ALL SELECT * FROM changed
         ), counted AS (
           UPDATE @state_revision SET revision = revision + 1 WHERE EXISTS (SELECT 1 FROM entry)
         ) SELECT * FROM entry`,
        [key, toJson(value), version],
      );
      if (row !== undefined) return { applied: true, entry: toState(row) };
      return { applied: false, entry: await stateOf(key) };
    },
    async stateRevision() {
      const [row] = await query('SELECT revision FROM @state_revision', []);
      return Number(row?.['revision']);
    },

    async claimDeliveries(lease, limit) {
      checkLease(lease);
      const rows = await timed(
        `WITH ${MOMENT}, due AS (
           SELECT id FROM @outbox, moment
           WHERE state = 'pending' AND next_attempt_at <= now AND lease_until <= now
           ORDER BY next_attempt_at, id LIMIT $4 FOR UPDATE OF outbox SKIP LOCKED
         ) UPDATE @outbox AS message
           SET attempts = attempts + 1, lease_owner = $2, lease_until = now + $3::bigint
           FROM due, moment WHERE message.id = due.id RETURNING ${messageColumns('message.')}`,
        lease.owner,
        lease.ms,
        checkLimit(limit),
      );
      return rows
        .map(toDelivery)
        .sort((a, b) => a.nextAttemptAt - b.nextAttemptAt || compareText(a.id, b.id));
    },
    async settleDelivery(id, owner, outcome) {
      const rows = await query(
        `UPDATE @outbox SET state = $3, next_attempt_at = coalesce($4::bigint, next_attempt_at),
           last_error = $5, lease_owner = NULL, lease_until = 0
         WHERE id = $1 AND lease_owner = $2 AND state = 'pending' RETURNING id`,
        [
          id,
          owner,
          outcome.state,
          outcome.state === 'pending' ? outcome.nextAttemptAt : null,
          outcome.state === 'delivered' ? null : storableText(outcome.error),
        ],
      );
      return rows.length > 0;
    },
    async deliveries(jobId) {
      const rows = await query(
        `SELECT ${messageColumns()} FROM @outbox WHERE job_id = $1 ORDER BY created_at, id`,
        [jobId],
      );
      return rows.map(toDelivery);
    },
    async rememberDelivery(id) {
      const rows = await timed(
        `WITH ${MOMENT} INSERT INTO @inbox SELECT $2, now FROM moment ON CONFLICT DO NOTHING RETURNING id`,
        id,
      );
      return rows.length > 0;
    },

    async prune(before) {
      const pruned = { jobs: 0, deliveries: 0 };
      for (;;) {
        // In groups, so that no row stays locked for long.
        const [group] = await query(
          `WITH gone AS (
             DELETE FROM @jobs WHERE id IN (
               SELECT id FROM @jobs AS ended WHERE finished_at < $1 AND NOT EXISTS (
                 SELECT 1 FROM @outbox WHERE job_id = ended.id AND state = 'pending'
               ) LIMIT $2
             ) RETURNING id
           ), forgotten AS (
             DELETE FROM @inbox WHERE id IN (SELECT id FROM @inbox WHERE received_at < $1 LIMIT $2)
             RETURNING id
           ) SELECT (SELECT count(*) FROM gone) AS jobs, (SELECT count(*) FROM forgotten) AS deliveries`,
          [before, PRUNE_GROUP],
        );
        const jobs = Number(group?.['jobs']);
        const deliveries = Number(group?.['deliveries']);
        pruned.jobs += jobs;
        pruned.deliveries += deliveries;
        if (jobs < PRUNE_GROUP && deliveries < PRUNE_GROUP) return pruned;
      }
    },
    close: () => connection.close(),
    [Symbol.asyncDispose]: () => connection.close(),
  };
  return store;
}

const COST_KEYS = { endpoint: 'endpoint', backend: 'backend', day: 'created_at / 86400000' } as const;

/** A WHERE clause and its values. */
class Conditions {
  readonly values: unknown[] = [];
  readonly #parts: string[] = [];

  constructor({ endpoint, backend, status, since, until, tag }: JobFilter) {
    if (endpoint === null) this.add(() => 'endpoint IS NULL');
    else if (endpoint !== undefined) this.add((value) => `endpoint = ${value(endpoint)}`);
    if (backend !== undefined) this.add((value) => `backend = ${value(backend)}`);
    if (status !== undefined) this.add((value) => `status = ANY (${value(status)}::text[])`);
    if (since !== undefined) this.add((value) => `created_at >= ${value(since)}`);
    if (until !== undefined) this.add((value) => `created_at < ${value(until)}`);
    if (tag !== undefined) this.add((value) => `record -> 'tags' ? ${value(tag)}`);
  }

  get text(): string {
    return this.#parts.length === 0 ? '' : `WHERE ${this.#parts.join(' AND ')}`;
  }

  /** Adds a condition; `value` stands for a value in it. */
  add(condition: (value: (given: unknown) => string) => string): void {
    this.#parts.push(condition((given) => this.value(given)));
  }

  /** Adds a value, and gives what stands for it. */
  value(given: unknown): string {
    return `$${this.values.push(given)}`;
  }
}

function messageColumns(of = ''): string {
  return [
    'id',
    'job_id',
    'url',
    'payload',
    'state',
    'attempts',
    'next_attempt_at',
    'created_at',
    'last_error',
  ]
    .map((column) => of + column)
    .join(', ');
}

function toJob(row: PostgresRow): JobRecord {
  return checkRecord(row['record']);
}
