import { createHash } from 'node:crypto';

import pg from 'pg';

import { STEPS } from './postgres-schema.ts';
import { JobStoreError, storeClosed } from './store-error.ts';

/** Milliseconds to a connection, and of one statement. */
const TIMEOUT = { connectMs: 10_000, statementMs: 30_000 } as const;

/** How often a statement that PostgreSQL broke off for another's sake (a deadlock) is run again. */
const ATTEMPTS = 5;

/** SQLSTATE of deadlock_detected and serialization_failure. */
const BROKEN_OFF: ReadonlySet<string> = new Set(['40P01', '40001']);

/** Classes of SQLSTATE that say something of the server's state: connection, rollback, resources, operator. */
const PASSING = /^(?:08|40|53|55|57)/;

/** A row as PostgreSQL gives it; 64-bit integers come as strings. */
export type PostgresRow = Readonly<Record<string, unknown>>;

/** A statement as it is sent. By its name PostgreSQL plans it once a connection: half as many again a second. */
interface Statement {
  readonly text: string;
  readonly name: string;
}

/** Connections to one database, and the schema that the store's tables are in. */
export class PostgresConnection {
  readonly #pool: pg.Pool;
  readonly #schema: string;
  readonly #running = new Set<Promise<unknown>>();
  readonly #statements = new Map<string, Statement>();
  #closed = false;

  constructor(connectionString: string, schema: string, maxConnections: number) {
    if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema))
      throw new JobStoreError('invalid_argument', `${JSON.stringify(schema)} cannot name a schema.`);
    this.#schema = schema;
    this.#pool = new pg.Pool({
      connectionString,
      max: maxConnections,
      connectionTimeoutMillis: TIMEOUT.connectMs,
      statement_timeout: TIMEOUT.statementMs,
      application_name: 'ryla-job-store',
    });
    // A connection that breaks while nobody uses it: the pool makes another one when it is needed.
    this.#pool.on('error', ignore);
  }

  /**
   * Runs one statement of which there are few, which is a transaction of its own; `@table` names a table of the store.
   * It names its columns, so that its plan outlives a column that a newer release adds. Durable when it
   * resolves. PostgreSQL itself commits the concurrent ones of all connections with one fsync.
   */
  async query(text: string, values: readonly unknown[]): Promise<readonly PostgresRow[]> {
    if (this.#closed) throw storeClosed();
    const running = this.#repeated(this.#statement(text), [...values]);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async #repeated(statement: Statement, values: unknown[]): Promise<readonly PostgresRow[]> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { rows } = await this.#pool.query<PostgresRow>({ ...statement, values });
        return rows;
      } catch (error) {
        if (attempt >= ATTEMPTS || !BROKEN_OFF.has(sqlState(error))) throw unavailable(error);
      }
    }
  }

  /** Checks that the server keeps what it acknowledges, and brings the schema to today's form. */
  async migrate(): Promise<void> {
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw unavailable(error);
    });
    // A connection that breaks between two statements fails the next one; without a listener it would end the process.
    client.on('error', ignore);
    try {
      for (const setting of ['fsync', 'synchronous_commit']) {
        const { rows } = await client.query<{ readonly value: string }>(
          'SELECT current_setting($1) AS value',
          [setting],
        );
        if (rows[0]?.value === 'off')
          throw new JobStoreError(
            'store_not_durable',
            `PostgreSQL has ${setting} = off: it would acknowledge jobs that a crash can lose.`,
            { hint: `Set ${setting} = on for this server, database and role.` },
          );
      }
      await client.query('BEGIN');
      // Of all services that open the store at once, one makes the tables.
      await client.query(`SELECT pg_advisory_xact_lock(hashtext('ryla-job-store'), hashtext($1))`, [
        this.#schema,
      ]);
      // Asked first: a role that may not make schemas can still use one that was made for it.
      const made = await client.query('SELECT FROM pg_namespace WHERE nspname = $1', [this.#schema]);
      if (made.rowCount === 0) await client.query(`CREATE SCHEMA ${this.#schema}`);
      await client.query(this.#qualified('CREATE TABLE IF NOT EXISTS @schema_version (step integer)'));
      const { rows } = await client.query<{ readonly step: number }>(
        this.#qualified('SELECT coalesce(max(step), 0) AS step FROM @schema_version'),
      );
      const from = rows[0]?.step ?? 0;
      if (from > STEPS.length)
        throw new JobStoreError(
          'store_too_new',
          `The job store has schema ${from}; this release of @ryla/business knows ${STEPS.length}.`,
          { hint: 'Use the release that made it, or a newer one.' },
        );
      if (from < STEPS.length) {
        await client.query(`SET LOCAL search_path TO ${this.#schema}`);
        for (const step of STEPS.slice(from)) await client.query(step);
        await client.query('INSERT INTO schema_version VALUES ($1)', [STEPS.length]);
      }
      await client.query('COMMIT');
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      throw unavailable(error);
    } finally {
      client.off('error', ignore);
      client.release();
    }
  }

  /**
   * Ends the connections once the statements under way are done; the pool itself would leave those hanging that wait
   * for a connection. A call that has read and not yet written gets `store_closed`, and nothing of it is stored.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.allSettled(this.#running);
    await this.#pool.end();
  }

  #statement(text: string): Statement {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      const qualified = this.#qualified(text);
      const hash = createHash('sha256').update(qualified).digest('hex');
      statement = { text: qualified, name: `ryla_${hash.slice(0, 32)}` };
      this.#statements.set(text, statement);
    }
    return statement;
  }

  #qualified(text: string): string {
    return text.replaceAll('@', `${this.#schema}.`);
  }
}

function ignore(): void {
  // Whoever asks next is told.
}

function sqlState(error: unknown): string {
  return error instanceof pg.DatabaseError ? (error.code ?? '') : '';
}

function unavailable(error: unknown): unknown {
  if (JobStoreError.isInstance(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  const code = sqlState(error);
  return new JobStoreError('store_unavailable', `The job store's PostgreSQL failed: ${message}`, {
    cause: error,
    // Without a SQLSTATE it is the connection.
    retryable: code === '' || PASSING.test(code),
    hint: "Check that the server is up and that the role may create and use the store's schema.",
  });
}
