/** `npm run test:chaos -- [--seed N] [--jobs N] [--kills N] [--speed N]`: the long form of chaos.test.ts. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';

import { memoryJobStore, sqliteJobStore } from '../src/index.ts';
import { faultRun } from './fault-run.ts';
import { MANY_FAULTS, NO_FAULTS } from './faulty-backends.ts';
import { killRun } from './kill-run.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    jobs: { type: 'string', default: '10000' },
    kills: { type: 'string', default: '1000' },
    speed: { type: 'string', default: '40' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(
    'Usage: npm run test:chaos -- [--seed N] [--jobs N] [--kills N] [--speed N]\n\n' +
      'Runs jobs over backends that fail in every way, then kills a service process again and again.\n' +
      'Time runs --speed times as fast (40) for the service: take less where other work takes the processor, since a pause of\n' +
      'a second is then --speed seconds, and the service gives up waiting for answers.\n' +
      'Ends with exit code 1 when a job was lost or run twice. Takes about 15 minutes by default.',
  );
  process.exit(0);
}
const seed = Number(values.seed);
const jobs = Number(values.jobs);
const speed = Number(values.speed);
console.log(`seed ${seed}`);
let bad = 0;

function judge(name: string, faults: readonly unknown[]): void {
  const isGood = faults.every((fault) => fault === 0 || fault === 'ok');
  if (!isGood) bad += 1;
  console.log(`${isGood ? 'ok' : 'BAD'}: ${name}`);
}

const quiet = await faultRun({
  seed,
  jobs,
  speed,
  concurrency: 200,
  rates: NO_FAULTS,
  store: memoryJobStore(),
});
console.log(JSON.stringify(quiet));
judge(`${jobs} jobs without faults`, [
  quiet.lost.length,
  quiet.twice.length,
  Object.keys(quiet.failed).length,
]);

const folder = await mkdtemp(path.join(tmpdir(), 'chaos-'));
const stormy = await faultRun({
  seed,
  jobs,
  speed,
  concurrency: 200,
  rates: MANY_FAULTS,
  store: await sqliteJobStore({ path: path.join(folder, 'jobs.db') }),
  clockJumps: true,
});
await rm(folder, { recursive: true, force: true });
console.log(JSON.stringify(stormy));
console.log(
  `requests per job: ${(stormy.requests / jobs).toFixed(3)}, without faults ${(quiet.requests / jobs).toFixed(3)}`,
);
judge(`${jobs} jobs with faults`, [
  stormy.lost.length,
  stormy.twice.length,
  stormy.overlaps,
  stormy.undocumented.length,
  stormy.statuses['lost'],
  stormy.statuses['unfinished'],
]);

const killed = await killRun({
  seed,
  kills: Number(values.kills),
  rates: MANY_FAULTS,
  speed: 2.5 * speed,
  onKill: (count, acknowledged) => {
    if (count % 50 === 0) console.log(`${count} kills, ${acknowledged} jobs acknowledged`);
  },
});
console.log(JSON.stringify(killed));
judge(`${values.kills} kills`, [killed.lost.length, killed.twice.length, killed.overlaps, killed.integrity]);
process.exit(bad === 0 ? 0 : 1);
