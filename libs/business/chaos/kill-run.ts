/** Kills a service process again and again; what is left when the last one has cleaned up. */
import { spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout } from 'node:timers/promises';

import { sqliteJobStore } from '../src/index.ts';
import { faultyBackends } from './faulty-backends.ts';
import { seeded } from './seeded.ts';
import type { FaultRates } from './unreliable-answers.ts';

/** What a run was told to do. */
export interface KillRunOptions {
  readonly seed: number;
  readonly kills: number;
  readonly rates: FaultRates;
  /** How many times as fast time runs for the services; 100 when absent. */
  readonly speed?: number;
  /** Hears of progress. */
  readonly onKill?: (count: number, acknowledged: number) => void;
}

/** What came of it. */
export interface KillRunReport {
  readonly kills: number;
  readonly acknowledged: number;
  /** Acknowledged jobs that are not in the store, or did not end, or are `lost`. */
  readonly lost: readonly string[];
  readonly twice: readonly string[];
  readonly overlaps: number;
  /** Attempts beyond the first, counted in the store. */
  readonly restarts: number;
  readonly statuses: Readonly<Record<string, number>>;
  /** Jobs that failed, by code. */
  readonly failed: Readonly<Record<string, number>>;
  /** `ok`, or what SQLite found. */
  readonly integrity: string;
}

const PROGRAM = path.join(import.meta.dirname, 'service-process.ts');

/** Longest that the last process may take, in milliseconds. */
const DRAIN_MS = 120_000;

/** Runs the experiment. */
export async function killRun({
  seed,
  kills,
  rates,
  speed = 100,
  onKill,
}: KillRunOptions): Promise<KillRunReport> {
  const random = seeded(seed);
  const folder = await mkdtemp(path.join(tmpdir(), 'kill-run-'));
  const file = path.join(folder, 'jobs.db');
  await using backends = await faultyBackends({ random, rates, runMs: () => 1 + 30 * random() });
  const acknowledged = new Set<string>();
  try {
    const submit = [file, backends.url, 'submit', String(speed)];
    // The first is killed when it has acknowledged a job: so long does a start take on this machine.
    const startMs = await runAndKill(submit, undefined, acknowledged);
    onKill?.(1, acknowledged.size);
    for (let count = 2; count <= kills; count += 1) {
      // Sometimes before it has begun, mostly in the middle of its work.
      await runAndKill(submit, startMs * 0.8 + random() * 650, acknowledged);
      onKill?.(count, acknowledged.size);
    }
    await drain([file, backends.url, 'drain', String(speed)]);
    const store = await sqliteJobStore({ path: file });
    const statuses: Record<string, number> = {};
    const known = new Map<string, string>();
    const failed: Record<string, number> = {};
    let restarts = 0;
    try {
      for (let cursor: string | undefined; ;) {
        const page = await store.list({}, { cursor, limit: 1_000 });
        for (const { id, status, attempt, error } of page.jobs) {
          known.set(id, status);
          statuses[status] = (statuses[status] ?? 0) + 1;
          restarts += attempt - 1;
          if (error !== null) failed[error.code] = (failed[error.code] ?? 0) + 1;
        }
        cursor = page.next;
        if (cursor === undefined) break;
      }
    } finally {
      await store.close();
    }
    const ended = ['succeeded', 'failed', 'canceled'];
    return {
      kills,
      acknowledged: acknowledged.size,
      lost: [...acknowledged].filter((id) => !ended.includes(known.get(id) ?? '')),
      twice: [...backends.executions].filter(([, times]) => times > 1).map(([id]) => id),
      overlaps: backends.overlaps,
      restarts,
      statuses,
      failed,
      integrity: integrityOf(file),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function start(args: readonly string[], options: SpawnOptions = {}) {
  return spawn(process.execPath, ['--conditions=@ryla/source', PROGRAM, ...args], {
    ...options,
    // Its input ends with this process: it does not outlive a run that was broken off.
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

/**
 * Kills a service after a time, or when it has acknowledged its first job.
 *
 * @returns milliseconds from its start until it was killed.
 */
async function runAndKill(
  args: readonly string[],
  afterMs: number | undefined,
  acknowledged: Set<string>,
): Promise<number> {
  const started = performance.now();
  const child = start(args);
  let text = '';
  child.stdout.setEncoding('utf8');
  const closed = once(child, 'close');
  const firstLine = new Promise<void>((resolve) => {
    child.stdout.on('data', (piece: string) => {
      text += piece;
      if (text.includes('\n')) resolve();
    });
  });
  // One that ends by itself has said why on stderr.
  await Promise.race([afterMs === undefined ? firstLine : setTimeout(afterMs), closed]);
  const livedMs = performance.now() - started;
  child.kill('SIGKILL');
  await closed;
  // The last line may be cut: it was not acknowledged then.
  for (const line of text.split('\n').slice(0, -1)) acknowledged.add(line);
  return livedMs;
}

async function drain(args: readonly string[]): Promise<void> {
  const child = start(args, { timeout: DRAIN_MS, killSignal: 'SIGKILL' });
  const ended: unknown[] = await once(child, 'close');
  const code = ended[0];
  if (code !== 0) throw new Error(`The last service did not end its jobs (exit code ${String(code)}).`);
}

function integrityOf(file: string): string {
  const database = new DatabaseSync(file);
  try {
    const [row] = database.prepare('PRAGMA integrity_check').all();
    return String(row?.['integrity_check']);
  } finally {
    database.close();
  }
}
