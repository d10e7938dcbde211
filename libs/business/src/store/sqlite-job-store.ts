import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';

import type { Clock } from '../clock.ts';
import { GroupCommit } from './group-commit.ts';
import { hasEnded, type JobRecord } from './job-record.ts';
import type { JobFilter, JobStore, NewDelivery, StateEntry } from './job-store.ts';
import { intendedJob, transition } from './job-transition.ts';
import {
  checkIntent,
  checkLease,
  checkLimit,
  DURATIONS_OF_LAST,
  fromCursor,
  idempotencyConflict,
  pageLimit,
  toCostSums,
  toCounts,
  toCursor,
  toQuantiles,
} from './query.ts';
import { decodeRecord, encodeRecord, storableText, toJson } from './record-codec.ts';
import { migrate } from './sqlite-schema.ts';
import { toDelivery, toState } from './row.ts';
import { JobStoreError, storeClosed, unknownJob } from './store-error.ts';

/**
 * Pages (4 KiB) in the log before SQLite copies them into the file. Four times its standard: measured 35,000 durable
 * submits a second against 26,000, since a page that changed often is copied once.
 */
const CHECKPOINT_PAGES = 4_000;

/** Milliseconds that a call waits for another process's transaction. */
const BUSY_TIMEOUT_MS = 5_000;

/** Milliseconds before the switch to the write-ahead log is tried again. */
const SWITCH_RETRY_MS = 2;

/** Jobs that one transaction of `prune` deletes. */
const PRUNE_GROUP = 200;

/** Options of {@link sqliteJobStore}. */
export interface SqliteJobStoreOptions {
  /** The file, made when it is not there, on a disk of this machine (WAL does not work over a network); or `:memory:`. */
  readonly path: string;
  /** Replaced in tests. */
  readonly clock?: Pick<Clock, 'now'>;
}

type Row = Record<string, SQLOutputValue>;

/**
 * A store in a SQLite file: WAL, `synchronous = FULL`, writes of one turn of the event loop in one commit. Several
 * processes of one machine may share the file.
 *
 * @throws {JobStoreError} `store_unavailable` when the file cannot be opened, `store_too_new`.
 */
export async function sqliteJobStore(options: SqliteJobStoreOptions): Promise<JobStore> {
  const { path: file, clock = { now: Date.now } } = options;
  // Not loaded by those who use another store: Node 22 warns that node:sqlite is experimental.
  const sqlite = await import('node:sqlite');
  let database: DatabaseSync;
  try {
    if (file !== ':memory:') await mkdir(path.dirname(path.resolve(file)), { recursive: true });
    database = new sqlite.DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  } catch (error) {
    throw unavailable(error);
  }
  try {
    await writeAhead(database);
    database.exec('PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON');
    database.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    migrate(database);
    return createStore(database, clock);
  } catch (error) {
    database.close();
    throw unavailable(error);
  }
}

/**
 * Switches to the write-ahead log. SQLite does not wait when another process does the same at that moment (its own
 * timeout would be a deadlock): it refuses, and has to be asked again.
 */
async function writeAhead(database: DatabaseSync): Promise<void> {
  const giveUpAt = performance.now() + BUSY_TIMEOUT_MS;
  for (;;) {
    try {
      database.exec('PRAGMA journal_mode = WAL');
      return;
    } catch (error) {
      if (!isBusy(error) || performance.now() >= giveUpAt) throw error;
      await delay(SWITCH_RETRY_MS);
    }
  }
}

function isBusy(error: unknown): boolean {
  // The low byte of an extended result code; 5 is SQLITE_BUSY.
  return (
    error instanceof Error &&
    'errcode' in error &&
    typeof error.errcode === 'number' &&
    error.errcode % 256 === 5
  );
}

function createStore(database: DatabaseSync, clock: Pick<Clock, 'now'>): JobStore {
  const commits = new GroupCommit(database, unavailable);
  const statements = new Map<string, StatementSync>();
  let closed = false;

  function sql(text: string): StatementSync {
    let statement = statements.get(text);
    if (statement === undefined) {
      statement = database.prepare(text);
      statements.set(text, statement);
    }
    return statement;
  }

  function read<T>(work: () => T): Promise<T> {
    return new Promise((resolve) => {
      if (closed) throw storeClosed();
      try {
        resolve(work());
      } catch (error) {
        throw unavailable(error);
      }
    });
  }

  const write = <T>(work: (now: number) => T): Promise<T> => commits.write(() => work(clock.now()));

  function find(id: string): JobRecord | undefined {
    const row = sql('SELECT record FROM jobs WHERE id = ?').get(id);
    return row === undefined ? undefined : toJob(row);
  }

  function enqueue(jobId: string, delivery: NewDelivery, now: number): void {
    const { id, url, payload, nextAttemptAt = now } = delivery;
    sql(
      `INSERT INTO outbox (id, job_id, url, payload, state, attempts, next_attempt_at, created_at, lease_until)
       VALUES (?, ?, ?, ?, 'pending', 0, ?, ?, 0) ON CONFLICT DO NOTHING`,
    ).run(id, jobId, url, storableText(payload), nextAttemptAt, now);
  }

  function tag(number: number | bigint, tags: readonly string[]): void {
    for (const each of tags)
      sql('INSERT INTO job_tags VALUES (?, ?) ON CONFLICT DO NOTHING').run(each, number);
  }

  const store: JobStore = {
    create(intent, lease) {
      return checked(() => {
        checkIntent(intent);
        if (lease !== undefined) checkLease(lease);
        return write((now) => {
          const { text, job } = encodeRecord(intendedJob(intent, now));
          const { changes, lastInsertRowid: number } = sql(
            'INSERT INTO jobs (id, version, record) VALUES (?, 1, ?) ON CONFLICT DO NOTHING',
          ).run(intent.id, text);
          if (changes === 0) {
            const known = find(intent.id);
            if (known?.payloadHash !== intent.payloadHash) throw idempotencyConflict(intent.id);
            return { job: known, created: false };
          }
          if (intent.payload !== undefined)
            sql('INSERT INTO job_payloads VALUES (?, ?)').run(number, storableText(intent.payload));
          if (lease !== undefined)
            sql('INSERT INTO job_leases VALUES (?, ?, ?)').run(number, lease.owner, now + lease.ms);
          tag(number, job.tags);
          return { job, created: true };
        });
      });
    },
    get: (id) => read(() => find(id)),
    payload: (id) =>
      read(() => {
        const row = sql('SELECT payload FROM job_payloads JOIN jobs ON number = job WHERE id = ?').get(id);
        return row === undefined ? undefined : String(row['payload']);
      }),
    update: (id, version, patch, deliveries = []) =>
      write((now) => {
        const known = find(id);
        if (known === undefined) throw unknownJob(id);
        const result = transition(known, version, patch, now);
        if (!result.applied) return result;
        const { text, job } = encodeRecord(result.job);
        sql('UPDATE jobs SET version = ?, record = ? WHERE id = ?').run(job.version, text, id);
        if (hasEnded(job) && !hasEnded(known)) {
          sql(`DELETE FROM job_leases WHERE job = ${NUMBER}`).run(id);
          sql(`DELETE FROM job_payloads WHERE job = ${NUMBER}`).run(id);
        }
        if (patch.tags !== undefined) {
          const number = Number(sql('SELECT number FROM jobs WHERE id = ?').get(id)?.['number']);
          sql('DELETE FROM job_tags WHERE job = ?').run(number);
          tag(number, job.tags);
        }
        for (const delivery of deliveries) enqueue(id, delivery, now);
        return { applied: true, job };
      }),

    claim(lease, limit) {
      return checked(() => {
        checkLease(lease);
        checkLimit(limit);
        return write((now) => {
          const rows = sql(
            `SELECT number, record FROM jobs WHERE finished_at IS NULL AND NOT EXISTS (
               SELECT 1 FROM job_leases WHERE job = number AND until > ?
             ) ORDER BY created_at, id LIMIT ?`,
          ).all(now, limit);
          const take = sql(
            `INSERT INTO job_leases VALUES (?, ?, ?)
             ON CONFLICT (job) DO UPDATE SET owner = excluded.owner, until = excluded.until`,
          );
          for (const { number = null } of rows) take.run(number, lease.owner, now + lease.ms);
          return rows.map(toJob);
        });
      });
    },
    renew(lease) {
      return checked(() => {
        checkLease(lease);
        return write((now) => {
          const { owner, ms } = lease;
          sql('UPDATE job_leases SET until = ? WHERE owner = ?').run(now + ms, owner);
          const rows = sql(
            'SELECT id FROM job_leases JOIN jobs ON number = job WHERE owner = ? ORDER BY id',
          ).all(owner);
          return rows.map((row) => String(row['id']));
        });
      });
    },
    release: (owner, ids) =>
      write(() => {
        if (ids === undefined) sql('DELETE FROM job_leases WHERE owner = ?').run(owner);
        else
          for (const id of ids)
            sql(`DELETE FROM job_leases WHERE job = ${NUMBER} AND owner = ?`).run(id, owner);
      }),

    list: (filter = {}, page = {}) =>
      read(() => {
        const limit = pageLimit(page.limit);
        const after = fromCursor(page.cursor);
        const where = conditions(filter);
        if (after !== undefined) where.add('(created_at, id) < (?, ?)', after.createdAt, after.id);
        const rows = sql(
          `SELECT record FROM jobs ${where.text} ORDER BY created_at DESC, id DESC LIMIT ?`,
        ).all(...where.values, limit + 1);
        const shown = rows.slice(0, limit).map(toJob);
        const last = shown.at(-1);
        return { jobs: shown, next: last !== undefined && rows.length > limit ? toCursor(last) : undefined };
      }),
    count: (filter = {}) =>
      read(() => {
        const where = conditions(filter);
        const rows = sql(`SELECT status, count(*) AS jobs FROM jobs ${where.text} GROUP BY status`).all(
          ...where.values,
        );
        return toCounts(rows.map((row) => ({ status: String(row['status']), jobs: Number(row['jobs']) })));
      }),
    costs: (by, filter = {}) =>
      read(() => {
        const where = conditions(filter);
        where.add('cost_nano_usd IS NOT NULL');
        const rows = sql(
          `SELECT ${COST_KEYS[by]} AS key, count(*) AS jobs, sum(cost_nano_usd) AS nano
           FROM jobs ${where.text} GROUP BY 1`,
        ).all(...where.values);
        return toCostSums(
          by,
          rows.map(({ key, jobs, nano }) => ({
            key: key == null ? null : String(key),
            jobs: Number(jobs),
            nano: Number(nano),
          })),
        );
      }),
    durations: ({ endpoint, backend, last = DURATIONS_OF_LAST }, quantiles) =>
      read(() => {
        const rows = sql(
          `SELECT execution_ms FROM jobs
           WHERE endpoint IS ? AND backend = ? AND status = 'succeeded' AND execution_ms IS NOT NULL
           ORDER BY finished_at DESC LIMIT ?`,
        ).all(endpoint, backend, checkLimit(last));
        return toQuantiles(
          rows.map((row) => Number(row['execution_ms'])),
          quantiles,
        );
      }),

    acquireLease(name, lease) {
      return checked(() => {
        checkLease(lease);
        return write((now) => {
          const { changes } = sql(
            `INSERT INTO named_leases VALUES (?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
             WHERE owner = excluded.owner OR until <= ?`,
          ).run(name, lease.owner, now + lease.ms, now);
          return changes !== 0;
        });
      });
    },
    releaseLease: (name, owner) =>
      write(() => {
        sql('DELETE FROM named_leases WHERE name = ? AND owner = ?').run(name, owner);
      }),

    getState: (key) => read(() => stateOf(key)),
    listState: (prefix) =>
      read(() =>
        sql('SELECT * FROM state WHERE substr(key, 1, length(?)) = ? ORDER BY key')
          .all(prefix, prefix)
          .map(toState),
      ),
    setState: (key, value, version) =>
      write(() => {
        const known = stateOf(key);
        if ((known?.version ?? 0) !== version) return { applied: false, entry: known };
        sql(
          `INSERT INTO state VALUES (?, ?, ?)
           ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version`,
        ).run(key, toJson(value), version + 1);
        sql('UPDATE state_revision SET revision = revision + 1').run();
        return { applied: true, entry: stateOf(key) };
      }),
    stateRevision: () => read(() => Number(sql('SELECT revision FROM state_revision').get()?.['revision'])),

    claimDeliveries(lease, limit) {
      return checked(() => {
        checkLease(lease);
        checkLimit(limit);
        return write((now) => {
          const due = sql(
            `SELECT id FROM outbox WHERE state = 'pending' AND next_attempt_at <= ? AND lease_until <= ?
             ORDER BY next_attempt_at, id LIMIT ?`,
          ).all(now, now, limit);
          const take = sql(
            `UPDATE outbox SET attempts = attempts + 1, lease_owner = ?, lease_until = ?
             WHERE id = ? RETURNING *`,
          );
          return due.flatMap(({ id = null }) => take.all(lease.owner, now + lease.ms, id).map(toDelivery));
        });
      });
    },
    settleDelivery: (id, owner, outcome) =>
      write(() => {
        const { changes } = sql(
          `UPDATE outbox SET state = ?, next_attempt_at = coalesce(?, next_attempt_at), last_error = ?,
             lease_owner = NULL, lease_until = 0
           WHERE id = ? AND lease_owner = ? AND state = 'pending'`,
        ).run(
          outcome.state,
          outcome.state === 'pending' ? outcome.nextAttemptAt : null,
          outcome.state === 'delivered' ? null : storableText(outcome.error),
          id,
          owner,
        );
        return changes !== 0;
      }),
    deliveries: (jobId) =>
      read(() =>
        sql('SELECT * FROM outbox WHERE job_id = ? ORDER BY created_at, id').all(jobId).map(toDelivery),
      ),
    rememberDelivery: (id) =>
      write(
        (now) => sql('INSERT INTO inbox VALUES (?, ?) ON CONFLICT DO NOTHING').run(id, now).changes !== 0,
      ),

    async prune(before) {
      const pruned = { jobs: 0, deliveries: 0 };
      for (;;) {
        // In groups, so that other writes come in between.
        const group = await write(() => ({
          jobs: Number(
            sql(
              `DELETE FROM jobs WHERE id IN (
                 SELECT id FROM jobs WHERE finished_at < ? AND NOT EXISTS (
                   SELECT 1 FROM outbox WHERE job_id = jobs.id AND state = 'pending'
                 ) LIMIT ?
               )`,
            ).run(before, PRUNE_GROUP).changes,
          ),
          deliveries: Number(
            sql('DELETE FROM inbox WHERE id IN (SELECT id FROM inbox WHERE received_at < ? LIMIT ?)').run(
              before,
              PRUNE_GROUP,
            ).changes,
          ),
        }));
        pruned.jobs += group.jobs;
        pruned.deliveries += group.deliveries;
        if (group.jobs < PRUNE_GROUP && group.deliveries < PRUNE_GROUP) return pruned;
      }
    },
    close() {
      if (!closed) {
        closed = true;
        commits.close();
        statements.clear();
        database.close();
      }
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => store.close(),
  };
  return store;

  function stateOf(key: string): StateEntry | undefined {
    const row = sql('SELECT * FROM state WHERE key = ?').get(key);
    return row === undefined ? undefined : toState(row);
  }
}

/** The number of the job with an id. */
const NUMBER = '(SELECT number FROM jobs WHERE id = ?)';

const COST_KEYS = { endpoint: 'endpoint', backend: 'backend', day: 'created_at / 86400000' } as const;

function conditions(filter: JobFilter): {
  readonly text: string;
  readonly values: readonly SQLInputValue[];
  add(condition: string, ...values: readonly SQLInputValue[]): void;
} {
  const parts: string[] = [];
  const values: SQLInputValue[] = [];
  const where = {
    get text() {
      return parts.length === 0 ? '' : `WHERE ${parts.join(' AND ')}`;
    },
    values,
    add(condition: string, ...given: readonly SQLInputValue[]) {
      parts.push(condition);
      values.push(...given);
    },
  };
  if (filter.endpoint !== undefined) where.add('endpoint IS ?', filter.endpoint);
  if (filter.backend !== undefined) where.add('backend = ?', filter.backend);
  if (filter.status !== undefined)
    where.add('status IN (SELECT value FROM json_each(?))', JSON.stringify(filter.status));
  if (filter.since !== undefined) where.add('created_at >= ?', filter.since);
  if (filter.until !== undefined) where.add('created_at < ?', filter.until);
  if (filter.tag !== undefined) where.add('number IN (SELECT job FROM job_tags WHERE tag = ?)', filter.tag);
  return where;
}

function toJob(row: Row): JobRecord {
  return decodeRecord(String(row['record']));
}

/** Runs checks that throw before anything is written, and tells by rejection. */
async function checked<T>(work: () => Promise<T>): Promise<T> {
  return work();
}

/** What SQLite threw, as an error of ours. */
function unavailable(error: unknown): unknown {
  if (JobStoreError.isInstance(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new JobStoreError('store_unavailable', `The job store's SQLite file failed: ${message}`, {
    cause: error,
    retryable: true,
    hint: 'Check that the disk is not full, the file can be written and no process holds it locked for long.',
  });
}
