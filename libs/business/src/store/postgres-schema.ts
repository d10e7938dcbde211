/**
 * The steps from an empty schema to today's; the table `schema_version` counts those that were made. A released step
 * never changes: a new one is added.
 *
 * A job is its JSON; the generated columns are what is searched by, and cannot disagree with it. Texts that are
 * ordered by are in collation C, so that all databases order alike.
 */
export const STEPS: readonly string[] = [
  `
  CREATE TABLE jobs (
    id text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL,
    record jsonb NOT NULL,
    endpoint text GENERATED ALWAYS AS (record ->> 'endpoint') STORED,
    backend text GENERATED ALWAYS AS (record ->> 'backend') STORED,
    status text GENERATED ALWAYS AS (record ->> 'status') STORED,
    created_at bigint GENERATED ALWAYS AS ((record ->> 'createdAt')::bigint) STORED,
    finished_at bigint GENERATED ALWAYS AS ((record ->> 'finishedAt')::bigint) STORED,
    cost_nano_usd bigint
      GENERATED ALWAYS AS (round((record #>> '{cost,usd}')::numeric * 1000000000)::bigint) STORED,
    execution_ms double precision
      GENERATED ALWAYS AS ((record #>> '{timings,executionMs}')::double precision) STORED
  );
  CREATE INDEX jobs_newest ON jobs (created_at, id);
  CREATE INDEX jobs_unfinished ON jobs (created_at, id) WHERE finished_at IS NULL;
  CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
  CREATE INDEX jobs_durations ON jobs (endpoint, backend, finished_at, execution_ms)
    WHERE status = 'succeeded' AND execution_ms IS NOT NULL;
  CREATE INDEX jobs_tags ON jobs USING gin ((record -> 'tags'));

  CREATE TABLE job_payloads (
    job_id text COLLATE "C" PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    payload text NOT NULL
  );
  CREATE TABLE job_leases (
    job_id text COLLATE "C" PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    owner text NOT NULL,
    until bigint NOT NULL
  );
  CREATE INDEX job_leases_owner ON job_leases (owner);
  CREATE TABLE named_leases (name text PRIMARY KEY, owner text NOT NULL, until bigint NOT NULL);

  CREATE TABLE state (key text COLLATE "C" PRIMARY KEY, value text NOT NULL, version bigint NOT NULL);
  CREATE TABLE state_revision (revision bigint NOT NULL);
  INSERT INTO state_revision VALUES (0);

  CREATE TABLE outbox (
    id text COLLATE "C" PRIMARY KEY,
    job_id text COLLATE "C" NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    url text NOT NULL,
    payload text NOT NULL,
    state text NOT NULL,
    attempts integer NOT NULL,
    next_attempt_at bigint NOT NULL,
    created_at bigint NOT NULL,
    last_error text,
    lease_owner text,
    lease_until bigint NOT NULL
  );
  CREATE INDEX outbox_job ON outbox (job_id);
  CREATE INDEX outbox_due ON outbox (next_attempt_at, id) WHERE state = 'pending';
  CREATE TABLE inbox (id text PRIMARY KEY, received_at bigint NOT NULL);
  CREATE INDEX inbox_received ON inbox (received_at);
  `,
];
