import type { DatabaseSync } from 'node:sqlite';

import { JobStoreError } from './store-error.ts';

/**
 * The steps from an empty file to today's schema; `PRAGMA user_version` counts those that were made. A released step
 * never changes: a new one is added.
 *
 * A job is its JSON; the generated columns are what is searched by, and cannot disagree with it. Its number stands for
 * its id in other tables: a random id as a key dirties a page of its own with every row, and all of them go to disk.
 */
const STEPS: readonly string[] = [
  `
  CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    record TEXT NOT NULL,
    endpoint TEXT GENERATED ALWAYS AS (record ->> '$.endpoint') STORED,
    backend TEXT GENERATED ALWAYS AS (record ->> '$.backend') STORED,
    status TEXT GENERATED ALWAYS AS (record ->> '$.status') STORED,
    created_at INTEGER GENERATED ALWAYS AS (record ->> '$.createdAt') STORED,
    finished_at INTEGER GENERATED ALWAYS AS (record ->> '$.finishedAt') STORED,
    cost_nano_usd INTEGER
      GENERATED ALWAYS AS (CAST(round((record ->> '$.cost.usd') * 1e9) AS INTEGER)) STORED,
    execution_ms REAL GENERATED ALWAYS AS (record ->> '$.timings.executionMs') STORED
  ) STRICT;
  CREATE INDEX jobs_newest ON jobs (created_at, id);
  CREATE INDEX jobs_unfinished ON jobs (created_at, id) WHERE finished_at IS NULL;
  CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
  CREATE INDEX jobs_durations ON jobs (endpoint, backend, finished_at, execution_ms)
    WHERE status = 'succeeded' AND execution_ms IS NOT NULL;

  CREATE TABLE job_payloads (
    job INTEGER PRIMARY KEY REFERENCES jobs (number) ON DELETE CASCADE,
    payload TEXT NOT NULL
  ) STRICT;
  CREATE TABLE job_leases (
    job INTEGER PRIMARY KEY REFERENCES jobs (number) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    until INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE named_leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, until INTEGER NOT NULL) STRICT;

  CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL, version INTEGER NOT NULL) STRICT;
  CREATE TABLE state_revision (revision INTEGER NOT NULL) STRICT;
  INSERT INTO state_revision VALUES (0);

  CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    url TEXT NOT NULL,
    payload TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_error TEXT,
    lease_owner TEXT,
    lease_until INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX outbox_job ON outbox (job_id);
  CREATE INDEX outbox_due ON outbox (next_attempt_at, id) WHERE state = 'pending';
  CREATE TABLE inbox (id TEXT PRIMARY KEY, received_at INTEGER NOT NULL) STRICT;
  CREATE INDEX inbox_received ON inbox (received_at);
  `,
  `
  CREATE TABLE job_tags (
    tag TEXT NOT NULL,
    job INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
    PRIMARY KEY (tag, job)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX job_tags_job ON job_tags (job);
  INSERT INTO job_tags SELECT DISTINCT value, number FROM jobs, json_each(record, '$.tags');
  `,
];

/** Brings a file to today's schema. Safe when several processes open it at once. */
export function migrate(database: DatabaseSync): void {
  if (userVersion(database) === STEPS.length) return;
  database.exec('BEGIN IMMEDIATE');
  try {
    const from = userVersion(database);
    if (from > STEPS.length)
      throw new JobStoreError(
        'store_too_new',
        `The job store has schema ${from}; this release of @ryla/business knows ${STEPS.length}.`,
        { hint: 'Use the release that made it, or a newer one.' },
      );
    for (const step of STEPS.slice(from)) database.exec(step);
    database.exec(`PRAGMA user_version = ${STEPS.length}`);
    database.exec('COMMIT');
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
}

function userVersion(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
}
