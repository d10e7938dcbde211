/** The short form of `npm run test:chaos`, which does the same a hundred times as long. */
import { describe, expect, it } from 'vitest';

import { memoryJobStore } from '../src/index.ts';
import { faultRun } from './fault-run.ts';
import { killRun } from './kill-run.ts';
import { MANY_FAULTS, NO_FAULTS } from './unreliable-answers.ts';

const seed = Number(process.env['CHAOS_SEED'] ?? Date.now() % 1_000_000);

describe(`with CHAOS_SEED=${seed}`, () => {
  it('no job is lost or run twice over backends that fail', { timeout: 180_000 }, async () => {
    const jobs = 1_000;
    const store = memoryJobStore();
    const report = await faultRun({
      seed,
      jobs,
      concurrency: 100,
      rates: MANY_FAULTS,
      speed: 15,
      store,
      clockJumps: true,
    });
    expect(report).toMatchObject({ lost: [], twice: [], overlaps: 0, undocumented: [] });
    expect(report.statuses).toMatchObject({ lost: 0, expired: 0, unfinished: 0 });
    expect((report.statuses['succeeded'] ?? 0) + (report.statuses['failed'] ?? 0)).toBe(jobs);
    expect(report.succeeded).toBeGreaterThan(jobs * 0.98);
  });

  it('nothing is repeated when nothing fails', { timeout: 120_000 }, async () => {
    const jobs = 300;
    const report = await faultRun({
      seed,
      jobs,
      concurrency: 50,
      rates: NO_FAULTS,
      speed: 15,
      store: memoryJobStore(),
    });
    expect(report).toMatchObject({ succeeded: jobs, failed: {}, twice: [], lost: [] });
  });

  it(
    'no acknowledged job is lost or run twice by services that are killed',
    { timeout: 240_000 },
    async () => {
      const report = await killRun({ seed, kills: 25, rates: MANY_FAULTS });
      expect(report).toMatchObject({ lost: [], twice: [], overlaps: 0, integrity: 'ok' });
      expect(report.acknowledged).toBeGreaterThan(0);
      expect(report.statuses['lost'] ?? 0).toBe(0);
    },
  );
});
