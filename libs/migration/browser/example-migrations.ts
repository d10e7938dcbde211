/** Three endpoints on their way: one at 25 % after a rollback, one at shadow, one that nobody has touched. */
import { memoryJobStore } from '@ryla/business';
import { manualClock } from '@ryla/business/testing';

import type { EndpointBill } from '../src/bills/bill.ts';
import { tellMigration } from '../src/report/migration-history.fixture.ts';
import { type MigrationRecord, readMigrationRecords } from '../src/report/migration-record.ts';

const BEGIN = Date.UTC(2026, 10, 18, 9);
const HOURS = 7 * 24 + 3;

/** Hours in which the new side of the first endpoint was broken. */
const isBroken = (hour: number): boolean => hour > 60 && hour < 66;

/** What a stranger may put into a reason. */
const HOSTILE = `</script><script>globalThis.alerted = 3</script>`;

/** Makes them. */
export async function exampleMigrations(): Promise<readonly MigrationRecord[]> {
  const clock = manualClock(BEGIN);
  const store = memoryJobStore({ clock });
  const file = {
    endpoints: {
      'flux-schnell': { stage: 'canary_50' },
      'z-image-turbo': { stage: 'shadow', thresholds: { parity: 'not_judged' } },
      'sdxl-portrait': { stage: 'off' },
    },
  };
  await tellMigration(store, clock, {
    ...{ endpoint: 'flux-schnell', hours: HOURS, jobsPerHour: 26, shadowShare: 0.4 },
    ...{ executionMs: 2_700, slower: 0.97, failing: (hour) => (isBroken(hour) ? 0.7 : 0.004) },
    moves: [
      { hour: 1, to: 'models_verified', by: 'ada', reason: '212 files of volume vol9ryla01 verified' },
      { hour: 2, to: 'shadow', by: 'ada', reason: 'by hand' },
      { hour: 28, to: 'canary_1', by: 'ada', reason: 'all gates pass' },
      { hour: 46, to: 'canary_5', by: 'grace', reason: 'all gates pass' },
      { hour: 54, to: 'canary_25', by: 'grace', reason: 'all gates pass' },
      {
        ...{ hour: 64, to: 'models_verified', by: 'automatic' },
        reason: 'errorRate: new 0.43, old 0.004; surely above 8.1, and 1 is the line (30 jobs).',
      },
      { hour: 75, to: 'shadow', by: 'ada', reason: `the image was without a model ${HOSTILE}` },
      { hour: 98, to: 'canary_1', by: 'ada', reason: 'all gates pass' },
      { hour: 120, to: 'canary_5', by: 'ada', reason: 'all gates pass' },
      { hour: 144, to: 'canary_25', by: 'grace', reason: 'all gates pass' },
    ],
  });
  const other = manualClock(clock.now() - 30 * 3_600_000);
  const others = memoryJobStore({ clock: other });
  await tellMigration(others, other, {
    ...{ endpoint: 'z-image-turbo', hours: 30, jobsPerHour: 6, shadowShare: 0.3 },
    ...{ executionMs: 3_900, slower: 1.8 },
    moves: [
      { hour: 2, to: 'models_verified', by: 'grace', reason: 'by hand' },
      { hour: 3, to: 'shadow', by: 'grace', reason: 'by hand' },
    ],
  });
  const fileText = (): Promise<string> => Promise.resolve(JSON.stringify(file));
  const [flux, , sdxl] = await readMigrationRecords({ store, clock, fileText });
  const [, turbo] = await readMigrationRecords({ store: others, clock: other, fileText });
  return [flux, turbo, sdxl].filter((record) => record !== undefined);
}

/** Bills: both sides of the first endpoint, one side of the second. */
export const EXAMPLE_BILLS: readonly EndpointBill[] = [
  {
    ...{ endpoint: 'flux-schnell', from: '2026-11-18T12:00:00Z', to: '2026-11-25T12:00:00Z' },
    old: {
      ...{ backend: 'runpod:flux-schnell', jobs: 3_511, reckonedJobs: 3_511, reckonedUsd: 6.38 },
      bill: {
        ...{ isKnown: true, source: 'RunPod, /v2/billing/serverless, by the hour', usd: 9.12 },
        parts: [
          { name: 'GPU', usd: 8.9 },
          { name: 'disk', usd: 0.22 },
        ],
        storage: [{ name: 'vol9ryla01', usd: 3.27 }],
        notes: [],
      },
    },
    new: {
      ...{ backend: 'modal:flux-schnell', jobs: 2_048, reckonedJobs: 2_040, reckonedUsd: 3.61 },
      bill: {
        ...{ isKnown: true, source: 'modal billing report, by the hour', usd: 4.95 },
        parts: [
          { name: 'L40S', usd: 4.4 },
          { name: 'CPU', usd: 0.35 },
          { name: 'Memory', usd: 0.2 },
        ],
        storage: [],
        notes: ['Modal bills volumes for the whole workspace: they are not told apart by app.'],
      },
    },
  },
  {
    ...{ endpoint: 'z-image-turbo', from: '2026-11-24T06:00:00Z', to: '2026-11-25T12:00:00Z' },
    old: {
      ...{ backend: 'runpod:z-image-turbo', jobs: 171, reckonedJobs: 171, reckonedUsd: 0.41 },
      bill: { isKnown: false, why: 'RunPod answered 403: the key may not read bills.' },
    },
    new: {
      ...{ backend: 'modal:z-image-turbo', jobs: 44, reckonedJobs: 44, reckonedUsd: 0.19 },
      bill: {
        ...{ isKnown: true, source: 'modal billing report, by the hour', usd: 0.82 },
        parts: [{ name: 'L40S', usd: 0.82 }],
        ...{ storage: [], notes: [] },
      },
    },
  },
];
