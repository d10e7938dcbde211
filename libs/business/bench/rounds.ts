/** Two ways to do the same, measured in turns. */
import process from 'node:process';

import type { BenchResult } from '@ryla/test-support';

/** How often what is done. */
export interface Rounds {
  /** Jobs of one round, and of the one before all others, which counts for nothing. */
  readonly jobs: number;
  readonly warmUp: number;
  readonly rounds: number;
  /** Callers, each with one job at a time. */
  readonly atOnce: number;
}

/** The best round of each: other work on the machine can only make a round slower. */
export interface Paired {
  /** Jobs a second. */
  readonly ours: number;
  readonly peer: number;
  /** Microseconds of this process's processor time for a job. */
  readonly oursUs: number;
  readonly peerUs: number;
}

/** Measures both in turns. */
export async function inTurns(
  ours: () => Promise<unknown>,
  peer: () => Promise<unknown>,
  { jobs, warmUp, rounds, atOnce }: Rounds,
): Promise<Paired> {
  await all(peer, warmUp, atOnce);
  await all(ours, warmUp, atOnce);
  const best = { ours: 0, peer: 0, oursUs: Infinity, peerUs: Infinity };
  for (let round = 0; round < rounds; round += 1) {
    const theirs = await measured(peer, jobs, atOnce);
    const own = await measured(ours, jobs, atOnce);
    best.peer = Math.max(best.peer, theirs.perSecond);
    best.peerUs = Math.min(best.peerUs, theirs.us);
    best.ours = Math.max(best.ours, own.perSecond);
    best.oursUs = Math.min(best.oursUs, own.us);
  }
  return best;
}

async function measured(
  job: () => Promise<unknown>,
  jobs: number,
  atOnce: number,
): Promise<{ readonly perSecond: number; readonly us: number }> {
  const before = process.cpuUsage();
  const started = performance.now();
  await all(job, jobs, atOnce);
  const perSecond = (jobs * 1000) / (performance.now() - started);
  const { user, system } = process.cpuUsage(before);
  return { perSecond, us: (user + system) / jobs };
}

async function all(job: () => Promise<unknown>, count: number, atOnce: number): Promise<void> {
  let begun = 0;
  const caller = async (): Promise<void> => {
    while (begun < count) {
      begun += 1;
      await job();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, caller));
}

/** A figure in the form that `npm run bench` prints. */
export function result(
  name: string,
  ours: number,
  peer: number,
  peerName: string,
  unit: string,
): BenchResult {
  return { name, ours, peer, peerName, ratio: ours / peer, unit };
}
