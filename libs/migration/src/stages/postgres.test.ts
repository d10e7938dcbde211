/** The same on PostgreSQL, over two connections, as two services have it. */
import assert from 'node:assert/strict';

import { postgresJobStore } from '@ryla/business/postgres';
import { findPostgres, startPostgres } from '@ryla/business/testing';
import { describe, it } from 'vitest';

import { fileText } from './endpoint.fixture.ts';
import { createMigration } from './migration.ts';
import { setAside, spentToday } from './shadow-budget.ts';
import { changeStage, moved, readStage } from './stage-state.ts';

const programs = await findPostgres();
const me = { by: 'ada', reason: 'test' };

describe.skipIf(programs === undefined)('stages on PostgreSQL', () => {
  it('change once, whoever asks, and money is spent once', { timeout: 120_000 }, async () => {
    await using server = await startPostgres(programs ?? '');
    const { connectionString } = server;
    await using first = await postgresJobStore({ connectionString });
    await using second = await postgresJobStore({ connectionString });
    await changeStage(first, 'picture', (state) => moved(state, 'canary_50', me, Date.now()));
    const revision = await second.stateRevision();
    const migrations = [first, second].map((store) =>
      createMigration({ store, fileText: () => Promise.resolve(fileText('live')) }),
    );
    const results = await Promise.allSettled(migrations.map((each) => each.rollback('picture', me)));
    assert.equal(results.filter(({ status }) => status === 'fulfilled').length, 1);
    assert.equal((await readStage(second, 'picture')).stage, 'models_verified');
    assert.ok((await second.stateRevision()) > revision);

    const asked = { atMostUsd: 1, usdPerDay: 5, now: Date.now() };
    const given = await Promise.all(
      [first, second, first, second, first, second, first, second].map((store) =>
        setAside(store, 'picture', asked),
      ),
    );
    assert.equal(given.filter((money) => money !== undefined).length, 5);
    assert.deepEqual(await spentToday(second, 'picture', asked.now), { usd: 5, jobs: 5 });
  });
});
