import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, describe, it } from 'vitest';

import {
  findPostgres,
  jobStoreConformance,
  type JobStoreTarget,
  manualClock,
  startPostgres,
} from '../testing/index.ts';
import { memoryJobStore } from './memory-job-store.ts';
import { postgresJobStore } from './postgres-job-store.ts';
import { sqliteJobStore } from './sqlite-job-store.ts';

function suite(open: () => Promise<JobStoreTarget>): void {
  for (const { name, run } of jobStoreConformance)
    it(
      name,
      async () => {
        const target = await open();
        try {
          await run(target);
        } finally {
          await Promise.all([target.store.close(), target.other.close()]);
        }
      },
      30_000,
    );
}

describe('conformance of the memory store', () => {
  suite(() => {
    const clock = manualClock();
    const store = memoryJobStore({ clock });
    return Promise.resolve({ store, other: store, clock });
  });
});

describe('conformance of the SQLite store, two on one file', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'ryla-store-'));
  afterAll(() => rm(folder, { recursive: true }));
  let files = 0;
  suite(async () => {
    const clock = manualClock();
    const file = path.join(folder, `jobs-${(files += 1)}.sqlite`);
    const [store, other] = await Promise.all([
      sqliteJobStore({ path: file, clock }),
      sqliteJobStore({ path: file, clock }),
    ]);
    return { store, other, clock };
  });
});

const programs = await findPostgres();
// postgres-job-store.test.ts says so when there is none.
describe.skipIf(programs === undefined)(
  'conformance of the PostgreSQL store, two on one server',
  async () => {
    if (programs === undefined) return;
    const server = await startPostgres(programs);
    afterAll(() => server[Symbol.asyncDispose]());
    let schemas = 0;
    suite(async () => {
      const clock = manualClock();
      const options = {
        connectionString: server.connectionString,
        schema: `store_${(schemas += 1)}`,
        maxConnections: 5,
        clock,
      };
      const [store, other] = await Promise.all([postgresJobStore(options), postgresJobStore(options)]);
      return { store, other, clock };
    });
  },
);
