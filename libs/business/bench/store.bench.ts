/**
 * Durable submits of the SQLite job store beside node:sqlite's raw rate of single commits, on one disk; and what the
 * store's fsyncs do to the event loop.
 */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { DatabaseSync } from 'node:sqlite';

import type { BenchResult } from '@ryla/test-support';

import { type JobIntent, type JobStore, sqliteJobStore } from '../src/index.ts';

const CALLERS = 64;
const ROUNDS = 4;
const TURN_MS = 400;
const LEASE = { owner: 'bench', ms: 60_000 };

/** Durable writes a second by 64 callers at once, and how long the event loop stands still while they write. */
export async function run(): Promise<BenchResult[]> {
  const folder = await mkdtemp(path.join(tmpdir(), 'ryla-bench-'));
  try {
    await using store = await sqliteJobStore({ path: path.join(folder, 'ours.sqlite') });
    using peer = rawCommits(path.join(folder, 'peer.sqlite'), await aRecord(store));
    const submit = (): Promise<unknown> => store.create(intent(), LEASE);
    const pair = async (): Promise<void> => {
      const { job } = await store.create(intent(), LEASE);
      await store.update(job.id, job.version, { submission: 'submitted', providerRef: { id: job.id } });
    };
    const delay = monitorEventLoopDelay({ resolution: 1 });
    const rates = { submits: 0, pairs: 0, singly: 0, commits: 0, commitPairs: 0 };
    await perSecond(CALLERS, submit);
    peer.perSecond(1);
    // In turns, so that what else the machine does meets both sides.
    for (let round = 0; round < ROUNDS; round += 1) {
      delay.enable();
      rates.submits += (await perSecond(CALLERS, submit)) / ROUNDS;
      delay.disable();
      rates.commits += peer.perSecond(1) / ROUNDS;
      rates.pairs += (await perSecond(CALLERS, pair)) / ROUNDS;
      rates.commitPairs += peer.perSecond(2) / ROUNDS;
      rates.singly += (await perSecond(1, submit)) / ROUNDS;
    }
    const result = (name: string, ours: number, theirs: number, unit = 'jobs/s'): BenchResult => ({
      name,
      ours,
      peer: theirs,
      peerName: 'node:sqlite, single commits',
      ratio: ours / theirs,
      unit,
    });
    return [
      result('durable submits, 64 callers', rates.submits, rates.commits),
      result('durable intent, then submitted, 64 callers', rates.pairs, rates.commitPairs),
      result('durable submits, one caller', rates.singly, rates.commits),
      result(
        'event loop stands still for 64 submits, p99 (less is better)',
        delay.percentile(99) / 1e6,
        (CALLERS * 1_000) / rates.commits,
        'ms',
      ),
    ];
  } finally {
    await rm(folder, { recursive: true });
  }
}

function intent(): JobIntent {
  return {
    id: randomUUID(),
    endpoint: 'photo-finish',
    backend: 'modal',
    payloadHash: 'a'.repeat(64),
    tags: ['bench'],
  };
}

/** What the store keeps of a job: the peer writes the same bytes. */
async function aRecord(store: JobStore): Promise<string> {
  return JSON.stringify((await store.create(intent())).job);
}

/** Rows under a unique id in a table without further indexes, each in a transaction and with an fsync of its own. */
function rawCommits(file: string, record: string): Disposable & { perSecond(commitsEach: number): number } {
  const database = new DatabaseSync(file);
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  database.exec('CREATE TABLE jobs (id TEXT NOT NULL UNIQUE, record TEXT NOT NULL) STRICT');
  const insert = database.prepare('INSERT INTO jobs VALUES (?, ?)');
  const update = database.prepare('UPDATE jobs SET record = ? WHERE id = ?');
  return {
    perSecond(commitsEach) {
      const started = performance.now();
      let jobs = 0;
      for (; performance.now() - started < TURN_MS; jobs += 1) {
        const id = randomUUID();
        insert.run(id, record);
        for (let commit = 1; commit < commitsEach; commit += 1) update.run(record, id);
      }
      return (jobs * 1_000) / (performance.now() - started);
    },
    [Symbol.dispose]: () => database.close(),
  };
}

async function perSecond(callers: number, job: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  let jobs = 0;
  const caller = async (): Promise<void> => {
    for (; performance.now() - started < TURN_MS; jobs += 1) await job();
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return (jobs * 1_000) / (performance.now() - started);
}
