/**
 * A process of the store's tests: makes durable changes in a SQLite file for ever and prints every one that was
 * acknowledged, a line each: `<job id> <version>`. Arguments: the file, how many callers at once.
 */
import { randomUUID } from 'node:crypto';
import { writeSync } from 'node:fs';
import process from 'node:process';

import { sqliteJobStore } from './sqlite-job-store.ts';

const [, , file = '', callers = '1'] = process.argv;
const store = await sqliteJobStore({ path: file });
const owner = randomUUID();

/** Writes straight to the pipe: what was acknowledged is seen even when the process is killed at once. */
function acknowledge(id: string, version: number): void {
  let rest = Buffer.from(`${id} ${version}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      // The reader is slow and the pipe is full.
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) throw error;
    }
  }
}

async function caller(): Promise<void> {
  for (;;) {
    const id = randomUUID();
    const { job } = await store.create(
      { id, endpoint: 'flux', backend: 'modal', payloadHash: 'h', payload: 'p'.repeat(2_000) },
      { owner, ms: 60_000 },
    );
    acknowledge(id, job.version);
    const sent = await store.update(id, 1, { submission: 'submitted', providerRef: { id } });
    acknowledge(id, sent.job.version);
    const done = await store.update(id, 2, { status: 'succeeded' }, [
      { id: `m-${id}`, url: 'https://app.example', payload: '{}' },
    ]);
    acknowledge(id, done.job.version);
  }
}

await Promise.all(Array.from({ length: Number(callers) }, caller));
