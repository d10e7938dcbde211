import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import pg from 'pg';
import { afterAll, beforeAll, describe, it } from 'vitest';

import { findPostgres, manualClock, type PostgresServer, startPostgres } from '../testing/index.ts';
import type { JobStore } from './job-store.ts';
import { postgresJobStore } from './postgres-job-store.ts';

const programs = await findPostgres();
if (programs === undefined)
  console.warn(
    'PostgreSQL tests are skipped: there is no initdb and postgres here (apt-get install postgresql).',
  );

describe.skipIf(programs === undefined)('PostgreSQL store', { timeout: 30_000 }, () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres(programs ?? '');
  }, 30_000);
  afterAll(() => server[Symbol.asyncDispose]());

  const open = (schema: string): Promise<JobStore> =>
    postgresJobStore({ connectionString: server.connectionString, schema, maxConnections: 8 });
  const intent = (): Parameters<JobStore['create']>[0] => ({
    id: randomUUID(),
    endpoint: 'flux',
    backend: 'modal',
    payloadHash: 'h',
  });
  async function asAdmin<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = new pg.Client({ connectionString: server.connectionString });
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  it('goes by the database clock when none is injected', async () => {
    await using store = await open('clock');
    const before = Date.now();
    const { job } = await store.create(intent(), { owner: 'a', ms: 60_000 });
    assert.ok(job.createdAt >= before - 1 && job.createdAt <= Date.now() + 1);
    assert.deepEqual(await store.claim({ owner: 'b', ms: 60_000 }, 10), []);
    const ended = await store.update(job.id, 1, { status: 'failed' });
    assert.ok((ended.job.finishedAt ?? 0) >= job.createdAt);
  });

  it('opens one new schema many times at once', async () => {
    const stores = await Promise.all(Array.from({ length: 6 }, () => open('together')));
    await Promise.all(stores.map((store) => store.create(intent())));
    assert.equal((await stores[0]?.count())?.queued, 6);
    await Promise.all(stores.map((store) => store.close()));
  });

  it('lets services claim, renew, release and end 300 jobs at once: none is had by two, none is left', async () => {
    const stores = await Promise.all(Array.from({ length: 3 }, () => open('shared')));
    const [first] = stores;
    assert.ok(first);
    await Promise.all(Array.from({ length: 300 }, () => first.create(intent())));
    const ended: string[] = [];
    const work = async (store: JobStore, owner: string): Promise<void> => {
      const lease = { owner, ms: 60_000 };
      for (;;) {
        const [claimed] = await Promise.all([store.claim(lease, 7), store.renew(lease)]);
        if (claimed.length === 0) return;
        const [returned, ...kept] = claimed;
        await Promise.all([
          store.renew(lease),
          ...(returned !== undefined && kept.length > 0 ? [store.release(owner, [returned.id])] : []),
          ...(kept.length > 0 ? kept : claimed).map(async (job) => {
            const result = await store.update(job.id, job.version, { status: 'succeeded' });
            assert.ok(result.applied, 'two owners had it');
            ended.push(job.id);
          }),
        ]);
      }
    };
    await Promise.all(
      stores.flatMap((store, index) => [work(store, `${index}-a`), work(store, `${index}-b`)]),
    );
    // Who found nothing free has gone while others still gave something back.
    await work(first, 'last');
    assert.equal(ended.length, 300);
    assert.equal(new Set(ended).size, 300);
    assert.equal((await first.count()).succeeded, 300);
    await Promise.all(stores.map((store) => store.close()));
  });

  it('does not take what its owner renews at the same moment', async () => {
    const clock = manualClock();
    await using store = await postgresJobStore({
      connectionString: server.connectionString,
      schema: 'renewed',
      clock,
    });
    const { job } = await store.create(intent(), { owner: 'a', ms: 1_000 });
    clock.advance(1_000);
    const claimed = await asAdmin(async (owner) => {
      // What \`renew\` does, stopped just before its commit; the claim has read the lease that ran out by then.
      await owner.query('BEGIN');
      await owner.query('UPDATE renewed.job_leases SET until = until + 60000');
      const claiming = store.claim({ owner: 'b', ms: 1_000 }, 10);
      const waiting =
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%renewed.%'";
      while ((await owner.query(waiting)).rowCount === 0);
      await owner.query('COMMIT');
      return claiming;
    });
    assert.deepEqual(claimed, []);
    assert.deepEqual(await store.renew({ owner: 'a', ms: 1_000 }), [job.id]);
  });

  it('refuses a server, database or role that acknowledges what is not on disk', async () => {
    await asAdmin((client) => client.query('ALTER ROLE ryla SET synchronous_commit = off'));
    try {
      await assert.rejects(open('unsafe'), { code: 'store_not_durable' });
    } finally {
      await asAdmin((client) => client.query('ALTER ROLE ryla RESET synchronous_commit'));
    }
  });

  it('refuses a schema of a newer release, a name that is none, and a server that is not there', async () => {
    await (await open('newer')).close();
    await asAdmin((client) => client.query('INSERT INTO newer.schema_version VALUES (99)'));
    await assert.rejects(open('newer'), { code: 'store_too_new' });
    await assert.rejects(open('x; DROP TABLE jobs'), { code: 'invalid_argument' });
    await assert.rejects(postgresJobStore({ connectionString: 'postgres://127.0.0.1:1/none' }), {
      code: 'store_unavailable',
      retryable: true,
    });
  });

  it('goes on with new connections when the server cut all of them', async () => {
    await using store = await open('cut');
    const { job } = await store.create(intent());
    await asAdmin((client) =>
      client.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ryla-job-store'",
      ),
    );
    let found;
    for (let attempt = 0; found === undefined && attempt < 10; attempt += 1)
      found = await store.get(job.id).catch((error: unknown) => {
        assert.equal((error as { readonly code?: unknown }).code, 'store_unavailable');
        return undefined;
      });
    assert.deepEqual(found, job);
  });
});
