import assert from 'node:assert/strict';

import { type JobStore, memoryJobStore } from '@ryla/business';
import { type ManualClock, manualClock } from '@ryla/business/testing';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';

import type { EndpointBill, SideBill } from '../bills/bill.ts';
import { COMPARE_TAG } from '../gates/observation.ts';
import { record, times } from '../stages/recorded-jobs.fixture.ts';
import { changeStage, moved } from '../stages/stage-state.ts';
import { MOST_JOBS, readJobSeries } from './job-series.ts';
import { tellMigration } from './migration-history.fixture.ts';
import { type MigrationRecord, readMigrationRecords, stagePeriods } from './migration-record.ts';
import { createReport, type Report } from './report.ts';
import { gateRow, gateVerdict } from './stage-figures.ts';

const BEGIN = Date.UTC(2026, 10, 18, 9);
const HOUR = 3_600_000;

/** What a stranger may write as a reason. */
const HOSTILE = `<script>alert(1)</script> | **x**`;

let clock: ManualClock;
let store: JobStore;
let records: readonly MigrationRecord[];
let report: Report;

function fileText(): Promise<string> {
  const endpoints = { picture: { stage: 'canary_5' }, 'not-begun': { stage: 'off' } };
  return Promise.resolve(JSON.stringify({ endpoints }));
}

beforeAll(async () => {
  clock = manualClock(BEGIN);
  store = memoryJobStore({ clock });
  await tellMigration(store, clock, {
    ...{ endpoint: 'picture', hours: 10, jobsPerHour: 30, shadowShare: 0.5, executionMs: 1_000, slower: 1 },
    failing: (hour) => (hour > 4 && hour < 5 ? 1 : 0),
    moves: [
      { hour: 1, to: 'models_verified', by: 'ada', reason: 'looked' },
      { hour: 2, to: 'shadow', by: 'ada', reason: HOSTILE },
      { hour: 3, to: 'canary_1', by: 'ada', reason: 'fine' },
      { hour: 5, to: 'models_verified', by: 'automatic', reason: 'errorRate: too high.' },
      { hour: 6, to: 'shadow', by: 'grace', reason: 'mended' },
      { hour: 8, to: 'canary_1', by: 'grace', reason: 'fine' },
    ],
  });
  records = await readMigrationRecords({ store, fileText, clock });
  report = await createReport({ migrations: records, createdAt: new Date(clock.now()) });
});

describe('a report of a migration without a comparison', () => {
  it('says in a sentence where each endpoint stands, and what stands before the next stage', () => {
    assert.match(report.html, /No endpoint was compared yet; stages: picture canary 1 %, not-begun off\./);
    assert.match(report.html, /picture is at canary 1 %; before canary 5 %: \d of 7 gates do not pass yet\./);
    assert.match(report.html, /<li class="now" aria-current="step">\s*canary 1 %/);
    assert.match(report.html, /<li class="ahead closed"\s*>\s*canary 25 %/);
  });

  it('has each gate with its figures, its lines, and how many jobs it still needs', () => {
    const [picture] = records;
    assert.ok(picture !== undefined && picture.status.gates.length === 7);
    for (const gate of picture.status.gates) {
      const { text } = gateVerdict(gate);
      assert.ok(report.html.includes(`${text}</span>`), text);
      for (const cell of gateRow(gate)) assert.ok(report.html.includes(`>${cell}<`), cell);
      assert.ok(report.markdown.includes(`| ${gateRow(gate).join(' | ')}`), gate.gate);
    }
    assert.match(report.html, /needs about [\d,]+ more jobs/);
  });

  it('has who moved it, when and why, rollbacks among them', () => {
    const rows = records[0]?.status.state.history ?? [];
    assert.equal(rows.length, 6);
    assert.match(report.html, /<span class="fail">rolled back: canary 1 % to models verified<\/span>/);
    assert.match(report.html, /the judge \(automatic\)/);
    assert.ok(report.html.includes('&lt;script&gt;alert(1)&lt;/script&gt;'));
    assert.doesNotMatch(report.html, /<script/);
    assert.match(report.markdown, /\\<script\\>alert\(1\)\\<\/script\\> \\\| \\\*\\\*x\\\*\\\*/);
  });

  it('draws jobs, errors and latency over time twice: for a wide page and for a phone', () => {
    expect(report.html.match(/<svg /g)).toHaveLength(2);
    for (const title of ['jobs an hour', 'share that fails', 'p95, seconds'])
      expect(report.html.match(new RegExp(`>${title}</text>`, 'g')), title).toHaveLength(2);
    assert.match(report.html, /stroke="var\(--fail\)"/);
  });

  it('says so where nothing has happened yet', () => {
    const [, section = ''] = report.html.split('<section id="endpoint-2">');
    assert.match(section, /No jobs yet: the job store has none/);
    assert.match(section, /Nobody has moved this endpoint yet\./);
    assert.match(section, /Gates measure from shadow on\./);
    assert.match(section, /Nobody has compared both sides yet/);
    assert.doesNotMatch(section, /<svg|NaN|undefined|Infinity/);
  });

  it('carries state and series as data', () => {
    const data = (name: string): string => {
      const [, base64 = ''] =
        new RegExp(`download="${name}"\\s+href="data:[a-z/]+;base64,([^"]+)"`).exec(report.html) ?? [];
      return Buffer.from(base64, 'base64').toString();
    };
    expect(JSON.parse(data('picture.migration.json'))).toMatchObject({ status: { effective: 'canary_1' } });
    const [heading, ...lines] = data('picture.series.csv').trim().split('\r\n');
    assert.equal(heading, 'from,side,jobs,shadowJobs,jobsPerHour,failedShare,p95Ms');
    assert.equal(lines.length, records[0]?.series.points.length);
    expect(JSON.parse(report.json)).toMatchObject({
      version: 2,
      endpoints: [{ endpoint: 'picture', comparison: null }, { endpoint: 'not-begun' }],
    });
  });

  it('can be made of nothing at all', async () => {
    const { html, markdown } = await createReport({});
    assert.match(html, /There is nothing to report/);
    assert.match(markdown, /There is nothing to report/);
  });
});

describe('stages over time', () => {
  it('begin where the store’s history begins, and say which began by going back', () => {
    const [picture] = records;
    assert.ok(picture !== undefined);
    const { from, to } = picture.series;
    const periods = stagePeriods(picture, from, to);
    assert.equal(periods[0]?.from, from);
    assert.equal(periods.at(-1)?.to, to);
    assert.deepEqual(
      periods.map(({ stage, isRollback }) => (isRollback ? `back to ${stage}` : stage)),
      ['off', 'models_verified', 'shadow', 'canary_1', 'back to models_verified', 'shadow', 'canary_1'],
    );
  });
});

describe('jobs over time', () => {
  it('are those of both sides, without comparisons, and add up', async () => {
    const clock = manualClock(BEGIN);
    const store = memoryJobStore({ clock });
    await record(store, clock, [
      ...times(90, { backend: 'old' }),
      ...times(30, { backend: 'new', status: 'failed' }),
      ...times(30, { backend: 'new' }),
      ...times(9, { backend: 'new', tags: [COMPARE_TAG] }),
      ...times(9, { backend: 'elsewhere' }),
    ]);
    const series = await readJobSeries(store, {
      ...{ endpoint: 'picture', backends: { old: 'old', new: 'new' }, since: 0, now: clock.now() },
      stuckAfterMs: HOUR,
    });
    assert.equal(series.from, BEGIN + 1_000);
    const jobs = (arm: string): number =>
      series.points.filter((point) => point.arm === arm).reduce((sum, point) => sum + point.jobs, 0);
    assert.deepEqual([jobs('old'), jobs('new')], [90, 60]);
    expect(series.totals).toMatchObject({ old: { jobs: 90, failed: 0 }, new: { jobs: 60, failed: 30 } });
    assert.ok(Math.abs(series.totals.old.usd - 0.09) < 1e-9);
    assert.ok(series.points.some(({ failedShare }) => failedShare === 1));
    // A job a second, on the old side.
    assert.ok(series.points.some(({ arm, jobsPerHour }) => arm === 'old' && jobsPerHour === 3_600));
  });

  it('add up whenever they were made, and have no rate where a span is hardly seen', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(90 * 24 * HOUR), fc.boolean()), { minLength: 1, maxLength: 40 }),
        fc.nat(HOUR),
        async (jobs, later) => {
          const last = Math.max(...jobs.map(([at]) => at));
          const clock = manualClock(BEGIN);
          const store = memoryJobStore({ clock });
          let at = 0;
          for (const [moment, isNew] of jobs.toSorted(([a], [b]) => a - b)) {
            clock.advance(Math.max(0, moment - 1_000 - at));
            at = Math.max(at, moment - 1_000) + 1_000;
            await record(store, clock, [{ backend: isNew ? 'new' : 'old' }]);
          }
          const now = Math.max(clock.now(), BEGIN + last + later);
          const series = await readJobSeries(store, {
            ...{ endpoint: 'picture', backends: { old: 'old', new: 'new' }, since: 0, now },
            stuckAfterMs: HOUR,
          });
          const { from, to, spanMs, points, totals } = series;
          const counted = points.reduce((sum, point) => sum + point.jobs, 0);
          assert.equal(counted, jobs.length);
          assert.equal(totals.old.jobs + totals.new.jobs, jobs.length);
          assert.ok(points.length <= 2 * 62, `${points.length} points`);
          for (const point of points) {
            assert.ok(point.at + spanMs > from && point.at <= to);
            const seen = Math.min(to, point.at + spanMs) - Math.max(from, point.at);
            assert.equal(point.jobsPerHour === null, seen < spanMs / 2);
          }
        },
      ),
      { numRuns: 50 },
    );
  });

  it('of an untouched endpoint are none', async () => {
    const series = await readJobSeries(memoryJobStore(), {
      ...{ endpoint: 'picture', backends: { old: 'old', new: 'new' }, since: 0, now: BEGIN },
      stuckAfterMs: HOUR,
    });
    assert.deepEqual([series.points, series.isCut, series.totals.old.p95Ms], [[], false, null]);
  });

  it('are cut where there are more than a report reads', async () => {
    let pages = 0;
    const page = (await store.list({ backend: 'runpod:picture' }, { limit: 10 })).jobs;
    const full = Array.from({ length: 1_000 }, (_, index) => page[index % page.length] ?? assert.fail());
    const series = await readJobSeries(
      {
        list: () => {
          pages += 1;
          return Promise.resolve({ jobs: full, next: 'more' });
        },
      },
      {
        ...{ endpoint: 'picture', backends: { old: 'runpod:picture', new: 'modal:picture' } },
        ...{ since: 0, now: clock.now(), stuckAfterMs: HOUR },
      },
    );
    assert.equal(pages, MOST_JOBS / 1_000);
    assert.equal(series.isCut, true);
  });
});

describe('a hold', () => {
  it('is told, with who holds and why', async () => {
    const clock = manualClock(BEGIN);
    const store = memoryJobStore({ clock });
    await changeStage(store, 'picture', (state) => ({
      ...moved(state, 'shadow', { by: 'ada', reason: 'x' }, clock.now()),
      hold: { at: clock.now(), by: 'grace', reason: 'holidays' },
    }));
    const { html } = await createReport({
      migrations: await readMigrationRecords({ store, fileText, clock }),
    });
    assert.match(html, /picture is at shadow, held; before canary 1 %/);
    assert.match(html, /Held since 2026-11-18 09:00 UTC by grace: “holidays”\./);
    assert.match(html, /Held by grace: holidays/);
  });
});

describe('bills', () => {
  const side = (more: Partial<SideBill>): SideBill => ({
    ...{ backend: 'b', jobs: 100, reckonedJobs: 50, reckonedUsd: 0.5 },
    bill: { isKnown: false, why: 'nobody asked.' },
    ...more,
  });
  const bill: EndpointBill = {
    ...{ endpoint: 'picture', from: '2026-11-18T09:00:00.000Z', to: '2026-11-18T19:00:00.000Z' },
    old: side({
      bill: {
        ...{ isKnown: true, source: 'RunPod', usd: 2, notes: ['Late.'] },
        parts: [{ name: 'GPU', usd: 2 }],
        storage: [{ name: 'vol1', usd: 0.25 }],
      },
    }),
    new: side({}),
  };

  it('stand beside what is reckoned, and a missing one says why', async () => {
    const { html, markdown } = await createReport({ migrations: records, bills: [bill] });
    for (const cell of ['$0.02', '$0.01', '2.00 times', 'vol1 $0.25', 'GPU $2'])
      assert.ok(html.includes(`<span>${cell}</span>`), cell);
    for (const text of [html, markdown]) {
      assert.match(text, /The bill of the new side cannot be had: nobody asked\./);
      assert.match(text, /Late\./);
    }
    assert.match(html, /download="picture\.bills\.json"/);
  });
});
