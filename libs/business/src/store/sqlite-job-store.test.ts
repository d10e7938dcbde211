import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import type { Readable } from 'node:stream';

import { afterAll, describe, it } from 'vitest';

import { JobStoreError } from './store-error.ts';
import { sqliteJobStore } from './sqlite-job-store.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'ryla-sqlite-'));
afterAll(() => rm(folder, { recursive: true }));
const fixture = path.join(import.meta.dirname, 'durable-puts.fixture.ts');

function putter(file: string, callers: number): ChildProcessByStdio<null, Readable, Readable> {
  const args = ['--conditions=@ryla/source', '--no-warnings', fixture, file, String(callers)];
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Reads the acknowledgements of a child that is killed once it gave `kill` of them: id → highest version. */
async function acknowledgedUntilKilled(
  child: ChildProcessByStdio<null, Readable, Readable>,
  kill: number,
): Promise<ReadonlyMap<string, number>> {
  const closed = once(child, 'close');
  const complaint = child.stderr.setEncoding('utf8').toArray();
  const seen = new Map<string, number>();
  let lines = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    const match = /^([0-9a-f-]{36}) (\d+)$/.exec(line);
    // The last line of a killed process may be cut.
    if (match?.[1] === undefined) continue;
    seen.set(match[1], Math.max(seen.get(match[1]) ?? 0, Number(match[2])));
    lines += 1;
    if (lines === kill) child.kill('SIGKILL');
  }
  await closed;
  assert.equal(child.signalCode, 'SIGKILL', `it ended by itself: ${(await complaint).join('')}`);
  return seen;
}

async function checkAcknowledged(
  file: string,
  acknowledged: Iterable<readonly [string, number]>,
): Promise<void> {
  await using store = await sqliteJobStore({ path: file });
  for (const [id, version] of acknowledged) {
    const job = await store.get(id);
    assert.ok(job !== undefined, `job ${id} was acknowledged and is gone`);
    assert.ok(
      job.version >= version,
      `job ${id}: version ${version} was acknowledged, ${job.version} is stored`,
    );
    const messages = await store.deliveries(id);
    assert.equal(messages.length, job.status === 'succeeded' ? 1 : 0, 'the outbox disagrees with the job');
    assert.equal(await store.payload(id), job.status === 'succeeded' ? undefined : 'p'.repeat(2_000));
  }
  const database = new DatabaseSync(file, { readOnly: true });
  assert.deepEqual(
    database
      .prepare('PRAGMA integrity_check')
      .all()
      .map((row) => row['integrity_check']),
    ['ok'],
  );
  database.close();
}

describe('SQLite store', () => {
  it('loses nothing that it acknowledged when its process is killed, 20 times on one file', async () => {
    const file = path.join(folder, 'killed.sqlite');
    const acknowledged = new Map<string, number>();
    const seed = Date.now() % 100_000;
    for (let round = 0; round < 20; round += 1) {
      // Somewhere between the very first acknowledgement and the checkpoints that follow some hundreds.
      const kill = 1 + ((seed * 7_919 + round * 104_729) % (round % 2 === 0 ? 40 : 1_500));
      for (const [id, version] of await acknowledgedUntilKilled(putter(file, 1 + (round % 4) * 8), kill))
        acknowledged.set(id, version);
    }
    assert.ok(acknowledged.size >= 20);
    await checkAcknowledged(file, acknowledged).catch((cause: unknown) => {
      throw new Error(`The kill test failed with seed ${seed}.`, { cause });
    });
  }, 120_000);

  it('is shared by two processes, of which one is killed', async () => {
    const file = path.join(folder, 'shared.sqlite');
    const [first, second] = [putter(file, 8), putter(file, 8)];
    const both = await Promise.all([
      acknowledgedUntilKilled(first, 300),
      acknowledgedUntilKilled(second, 600),
    ]);
    for (const seen of both) await checkAcknowledged(file, seen);
  }, 120_000);

  it('is opened by several processes at once, new files too', async () => {
    const opener = path.join(import.meta.dirname, 'open-stores.fixture.ts');
    const children = Array.from({ length: 3 }, () =>
      spawn(process.execPath, ['--conditions=@ryla/source', '--no-warnings', opener], {
        stdio: ['pipe', 'pipe', 'inherit'],
      }),
    );
    const closed = children.map((child) => once(child, 'close'));
    // One that died is seen by its missing answer.
    for (const { stdin } of children) stdin.on('error', () => undefined);
    const answers = children.map((child) => createInterface({ input: child.stdout })[Symbol.asyncIterator]());
    const next = (): Promise<string[]> =>
      Promise.all(answers.map(async (lines) => String((await lines.next()).value)));
    try {
      assert.deepEqual(await next(), ['ready', 'ready', 'ready']);
      for (let index = 0; index < 60; index += 1) {
        const file = path.join(folder, `together-${index}.sqlite`);
        const moment = Date.now() + 4;
        for (const { stdin } of children) stdin.write(`${moment} ${file}\n`);
        assert.deepEqual(await next(), ['stored', 'stored', 'stored']);
      }
    } finally {
      for (const { stdin } of children) stdin.end();
      await Promise.all(closed);
    }
  }, 60_000);

  it('opens one new file many times at once', async () => {
    const file = path.join(folder, 'new', 'deep', 'jobs.sqlite');
    const stores = await Promise.all(Array.from({ length: 8 }, () => sqliteJobStore({ path: file })));
    await Promise.all(stores.map((store) => store.create(intent())));
    assert.equal((await stores[0]?.count())?.queued, 8);
    await Promise.all(stores.map((store) => store.close()));
  });

  it('acknowledges nothing that the disk refused, and rejects no neighbour for it', async () => {
    const file = path.join(folder, 'full.sqlite');
    await using store = await sqliteJobStore({ path: file });
    const database = new DatabaseSync(file);
    // Like a full disk, this ends the whole transaction at once.
    database.exec(`CREATE TRIGGER refuse BEFORE INSERT ON jobs WHEN new.record LIKE '%"endpoint":"too-much"%'
      BEGIN SELECT RAISE(ROLLBACK, 'database or disk is full'); END`);
    const [first, refused, last] = await Promise.allSettled([
      store.create(intent()),
      store.create({ ...intent(), endpoint: 'too-much' }),
      store.create(intent()),
    ]);
    assert.equal(first.status, 'fulfilled');
    assert.equal(last.status, 'fulfilled');
    assert.equal(refused.status, 'rejected');
    assert.ok(JobStoreError.isInstance(refused.reason));
    assert.equal(refused.reason.code, 'store_unavailable');
    assert.equal(refused.reason.retryable, true);
    assert.match(refused.reason.message, /disk is full/);
    assert.equal((await store.count()).queued, 2);
    database.exec('DROP TRIGGER refuse');
    database.close();
    await store.create({ ...intent(), endpoint: 'too-much' });
  });

  it('refuses a file of a newer release, and what is no database, and leaves both as they are', async () => {
    const newer = path.join(folder, 'newer.sqlite');
    const database = new DatabaseSync(newer);
    database.exec('PRAGMA user_version = 99');
    database.close();
    await assert.rejects(sqliteJobStore({ path: newer }), { code: 'store_too_new' });
    const text = path.join(folder, 'text.sqlite');
    await writeFile(text, 'no database, but long enough to look at. '.repeat(50));
    await assert.rejects(sqliteJobStore({ path: text }), { code: 'store_unavailable' });
    await assert.rejects(sqliteJobStore({ path: folder }), { code: 'store_unavailable' });
  });

  it('says so when a stored job was damaged', async () => {
    const file = path.join(folder, 'damaged.sqlite');
    await using store = await sqliteJobStore({ path: file });
    const given = intent();
    await store.create(given);
    const database = new DatabaseSync(file);
    database.exec(`UPDATE jobs SET record = '{"id":1}'`);
    database.close();
    await assert.rejects(store.get(given.id), { code: 'store_corrupt' });
  });
});

function intent(): { id: string; endpoint: string; backend: string; payloadHash: string } {
  return { id: randomUUID(), endpoint: 'flux', backend: 'modal', payloadHash: 'h' };
}
