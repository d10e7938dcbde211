/** `npm run test:chaos -- [--seed N] [--jobs N] [--kills N] [--clouds N] [--speed N]`: the long form of chaos.test.ts. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';

import { memoryJobStore, sqliteJobStore } from '../src/index.ts';
import { cloudsRun } from './clouds-run.ts';
import { faultRun } from './fault-run.ts';
import { killRun } from './kill-run.ts';
import { MANY_FAULTS, NO_FAULTS } from './unreliable-answers.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    jobs: { type: 'string', default: '10000' },
    kills: { type: 'string', default: '1000' },
    clouds: { type: 'string', default: '300' },
    speed: { type: 'string', default: '40' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(
    'Usage: npm run test:chaos -- [--seed N] [--jobs N] [--kills N] [--clouds N] [--speed N]\n\n' +
      'Runs --jobs jobs (10000) over backends that fail in every way, kills a service process --kills times (1000), then sends\n' +
      '--clouds jobs (300) to the real gateway and the real worker on the local clouds, by way of a network that fails, while\n' +
      'workers are killed in mid-run. 0 leaves a part out.\n' +
      'Time runs --speed times as fast (40) for the service: take less where other work takes the processor, since a pause of\n' +
      'a second is then --speed seconds, and the service gives up waiting for answers.\n' +
      'Ends with exit code 1 when a job was lost or run twice. Takes about 20 minutes by default.',
  );
  process.exit(0);
}
const seed = Number(values.seed);
const jobs = Number(values.jobs);
const kills = Number(values.kills);
const cloudJobs = Number(values.clouds);
const speed = Number(values.speed);
if (![seed, jobs, kills, cloudJobs, speed].every((value) => Number.isSafeInteger(value) && value >= 0)) {
  console.error('--seed, --jobs, --kills, --clouds and --speed are whole numbers.');
  process.exit(2);
}
console.log(`seed ${seed}`);
let bad = 0;

function judge(name: string, faults: readonly unknown[]): void {
  const isGood = faults.every((fault) => fault === 0 || fault === 'ok');
  if (!isGood) bad += 1;
  console.log(`${isGood ? 'ok' : 'BAD'}: ${name}`);
}

if (jobs > 0) await faults();
if (kills > 0) await serviceKills();
if (cloudJobs > 0) await overClouds();
process.exit(bad === 0 ? 0 : 1);

async function faults(): Promise<void> {
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
}

async function serviceKills(): Promise<void> {
  const killed = await killRun({
    seed,
    kills,
    rates: MANY_FAULTS,
    speed: 2.5 * speed,
    onKill: (count, acknowledged) => {
      if (count % 50 === 0) console.log(`${count} kills, ${acknowledged} jobs acknowledged`);
    },
  });
  console.log(JSON.stringify(killed));
  judge(`${kills} kills`, [killed.lost.length, killed.twice.length, killed.overlaps, killed.integrity]);
}

async function overClouds(): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'chaos-'));
  try {
    const report = await cloudsRun({
      seed,
      jobs: cloudJobs,
      concurrency: 16,
      rates: { ...MANY_FAULTS, workerLost: 0 },
      store: await sqliteJobStore({ path: path.join(folder, 'jobs.db') }),
      kills: Math.ceil(cloudJobs / 15),
      onEnd: (ended) => {
        if (ended % 50 === 0) console.log(`${ended} jobs over the local clouds`);
      },
    });
    console.log(JSON.stringify(report));
    judge(`${cloudJobs} jobs over the local clouds`, [
      report.lost.length,
      report.twice.length,
      report.overlaps.length,
      report.undocumented.length,
    ]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
