import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { type JobStore, memoryJobStore, sqliteJobStore } from '@ryla/business';
import { type ManualClock, manualClock } from '@ryla/business/testing';
import { afterAll, describe, it } from 'vitest';

import { MigrationError } from '../migration-error.ts';
import { fileText, NEW, OLD } from './endpoint.fixture.ts';
import { createMigration, type Migration } from './migration.ts';
import { type Ran, record, times } from './recorded-jobs.fixture.ts';
import { STAGES, type Stage } from './stage.ts';
import { changeStage, moved } from './stage-state.ts';
import { judgeStatus } from './judge-note.ts';
import { startJudge } from './judge.ts';

const HOUR = 3_600_000;
const NO_QUEUE = { queueP95: 'not_judged', coldStartP95: 'not_judged', parity: 'not_judged' };
const me = { by: 'ada', reason: 'test' };

const folder = await mkdtemp(path.join(tmpdir(), 'ryla-migration-'));
afterAll(() => rm(folder, { recursive: true }));
let stores = 0;

interface Setting extends AsyncDisposable {
  readonly store: JobStore;
  readonly clock: ManualClock;
  readonly migration: Migration;
  permit(stage: string, more?: object): void;
  breakFile(): void;
}

async function setting(
  permitted: string,
  at: Stage = 'off',
  more: object = {},
  isFile = false,
): Promise<Setting> {
  const clock = manualClock(Date.UTC(2026, 10, 2, 10));
  // Hundreds of jobs go into memory: a file would sync each.
  const store = isFile
    ? await sqliteJobStore({ path: path.join(folder, `${(stores += 1)}.db`), clock })
    : memoryJobStore({ clock });
  let text = fileText(permitted, more);
  if (at !== 'off') await changeStage(store, 'picture', (state) => moved(state, at, me, clock.now()));
  return {
    store,
    clock,
    migration: createMigration({ store, clock, fileText: () => Promise.resolve(text) }),
    permit: (stage, fields = more) => {
      text = fileText(stage, fields);
    },
    breakFile: () => {
      text = '{';
    },
    [Symbol.asyncDispose]: () => store.close(),
  };
}

async function codes(advance: ReturnType<Migration['advance']>): Promise<readonly string[]> {
  const result = await advance;
  return result.advanced ? [] : result.refusals.map(({ code }) => code);
}

describe('advance', () => {
  it('wants verified models first, and a file that permits it', async () => {
    await using s = await setting('off', 'off', {}, true);
    assert.deepEqual(await codes(s.migration.advance('picture', me)), [
      'not_permitted',
      'models_not_verified',
    ]);
    s.permit('shadow');
    assert.deepEqual(await codes(s.migration.advance('picture', me)), ['models_not_verified']);
    const first = await s.migration.advance('picture', me, { modelsVerified: true });
    assert.deepEqual(first, { advanced: true, from: 'off', to: 'models_verified' });
    assert.deepEqual(await s.migration.advance('picture', me), {
      advanced: true,
      from: 'models_verified',
      to: 'shadow',
    });
    assert.deepEqual((await codes(s.migration.advance('picture', me)))[0], 'not_permitted');
  });

  it('refuses with the figures that miss and the number of jobs that the claim needs', async () => {
    await using s = await setting('complete', 'shadow', { thresholds: NO_QUEUE });
    await record(s.store, s.clock, [...times(30, { backend: OLD }), ...times(25, { backend: NEW })]);
    s.clock.advance(HOUR);
    const result = await s.migration.advance('picture', me);
    assert.ok(!result.advanced);
    const missing = result.refusals.find(({ gate }) => gate === 'executionP95');
    assert.equal(missing?.jobs, 25);
    assert.ok((missing.needed ?? 0) > 25);
    assert.match(missing.message, /There are 25 jobs; the claim needs about \d+/);
  });

  it('goes on once the jobs say that the new side is fine', async () => {
    await using s = await setting('complete', 'shadow', { thresholds: NO_QUEUE });
    await record(s.store, s.clock, [...times(400, { backend: OLD }), ...times(400, { backend: NEW })]);
    s.clock.advance(HOUR);
    assert.deepEqual(await s.migration.advance('picture', me), {
      advanced: true,
      from: 'shadow',
      to: 'canary_1',
    });
    // The next stage wants its own time and jobs.
    assert.deepEqual(await codes(s.migration.advance('picture', me)), ['too_few_jobs', 'too_early']);
  });

  it('wants parity to have been measured, unless the file says otherwise', async () => {
    const thresholds = { ...NO_QUEUE, parity: {} };
    await using s = await setting('complete', 'shadow', { thresholds });
    await record(s.store, s.clock, [...times(400, { backend: OLD }), ...times(400, { backend: NEW })]);
    s.clock.advance(HOUR);
    const result = await s.migration.advance('picture', me);
    assert.ok(!result.advanced);
    assert.deepEqual(
      result.refusals.map(({ gate }) => gate),
      ['parity'],
    );
  });

  it('does not go on from figures that somebody rolled back meanwhile', async () => {
    await using s = await setting('complete', 'models_verified');
    await s.migration.hold('picture', me);
    assert.deepEqual(await codes(s.migration.advance('picture', me)), ['held']);
    await s.migration.resume('picture');
    assert.deepEqual(await codes(s.migration.advance('picture', me)), []);
  });

  it('ends only when the old side has been quiet', async () => {
    await using s = await setting('complete', 'ramp_down', { minimumHours: 0, thresholds: NO_QUEUE });
    await record(s.store, s.clock, [{ backend: OLD }]);
    assert.deepEqual(await codes(s.migration.advance('picture', me)), ['old_side_in_use']);
    s.clock.advance(25 * HOUR);
    assert.deepEqual(await codes(s.migration.advance('picture', me)), []);
    assert.deepEqual(await codes(s.migration.advance('picture', me)), ['no_next_stage']);
  });
});

describe('the stage in effect', () => {
  it('is never above what the file permits', async () => {
    await using s = await setting('shadow', 'canary_50', {}, true);
    const { effective, permitted, state } = await s.migration.status('picture');
    assert.deepEqual([effective, permitted, state.stage], ['shadow', 'shadow', 'canary_50']);
  });

  it('is unknown for an endpoint that the file does not name', async () => {
    await using s = await setting('shadow');
    await assert.rejects(s.migration.status('other'), (error) => {
      assert.ok(MigrationError.isInstance(error));
      return error.code === 'unknown_endpoint' && error.message.includes('picture');
    });
  });
});

describe('rollback', () => {
  it('holds, remembers why and proposes the change of the file', async () => {
    await using s = await setting('canary_50', 'canary_50', {}, true);
    const { from, to, proposal } = await s.migration.rollback('picture', me);
    assert.deepEqual([from, to], ['canary_50', 'models_verified']);
    assert.equal(proposal?.to, 'models_verified');
    assert.match(proposal.text, /"stage": ?"models_verified"/);
    assert.match(proposal.diff, /^-.*canary_50/m);
    const { state } = await s.migration.status('picture');
    assert.equal(state.hold?.by, 'ada');
    assert.deepEqual(state.history.at(-1)?.reason, 'test');
  });

  it('needs no file that can be read', async () => {
    await using s = await setting('live', 'live');
    s.breakFile();
    assert.deepEqual(await s.migration.rollback('picture', me), {
      from: 'live',
      to: 'models_verified',
      proposal: undefined,
    });
  });

  it('goes to an earlier stage only', async () => {
    await using s = await setting('live', 'canary_5');
    await assert.rejects(s.migration.rollback('picture', me, 'canary_25'), /canary_5/);
    assert.equal((await s.migration.rollback('picture', me, 'shadow')).to, 'shadow');
    await assert.rejects(s.migration.rollback('picture', me, 'shadow'), (error) =>
      MigrationError.isInstance(error),
    );
  });
});

describe('the judge', () => {
  it.each([
    ['errors', times(20, { backend: NEW, status: 'failed' }), 'errorRate'],
    ['slow executions', times(227, { backend: NEW, executionMs: 3_000 }), 'executionP95'],
    ['costs', times(45, { backend: NEW, usd: 0.01 }), 'costPerPicture'],
    ['pictures', times(30, { backend: NEW, tags: ['migration:parity:differs'] }), 'parity'],
    ['missing measurements', times(30, { backend: NEW, executionMs: null }), 'missing'],
  ] as const)('rolls back on %s', async (_, jobs, gate) => {
    await using s = await setting('live', 'canary_5');
    await record(s.store, s.clock, mixed(times(300, { backend: OLD }), jobs));
    const [rollback, ...others] = await s.migration.judge();
    assert.deepEqual(others, []);
    assert.deepEqual(
      rollback?.findings.map((finding) => finding.gate),
      [gate],
    );
    assert.equal(rollback.to, 'models_verified');
    assert.equal((await s.migration.status('picture')).state.hold?.by, 'automatic');
    assert.deepEqual(await s.migration.judge(), []);
  });

  it('rolls back on a single lost job of the new side, and none of the old', async () => {
    await using s = await setting('live', 'canary_5');
    await record(s.store, s.clock, [{ backend: OLD, status: 'lost' }, { backend: NEW }]);
    assert.deepEqual(await s.migration.judge(), []);
    await record(s.store, s.clock, [{ backend: NEW, status: 'lost' }]);
    const [rollback] = await s.migration.judge();
    assert.deepEqual(
      rollback?.findings.map(({ code }) => code),
      ['jobs_lost'],
    );
  });

  it('rolls back when the new side gets none of its jobs', async () => {
    await using s = await setting('live', 'canary_25');
    await record(s.store, s.clock, times(151, { backend: OLD }));
    const [rollback] = await s.migration.judge();
    assert.deepEqual(
      rollback?.findings.map(({ code }) => code),
      ['missing_measurements'],
    );
  });

  it('counts jobs that never end as missing', async () => {
    await using s = await setting('live', 'live', { stuckAfterMinutes: 10 });
    for (let job = 0; job < 20; job += 1)
      await s.store.create({ id: crypto.randomUUID(), endpoint: 'picture', backend: NEW, payloadHash: 'h' });
    assert.deepEqual(await s.migration.judge(), []);
    s.clock.advance(11 * 60_000);
    const [rollback] = await s.migration.judge();
    assert.deepEqual(
      rollback?.findings.map(({ gate }) => gate),
      ['missing'],
    );
  });

  it('leaves equal sides, callers’ own errors and canceled jobs alone', async () => {
    await using s = await setting('live', 'canary_50');
    await record(s.store, s.clock, [
      ...mixed(times(200, { backend: OLD }), times(200, { backend: NEW })),
      ...times(40, { backend: NEW, status: 'failed', errorCode: 'invalid_input' }),
      ...times(40, { backend: NEW, status: 'canceled' }),
    ]);
    assert.deepEqual(await s.migration.judge(), []);
  });

  it.each(STAGES.filter((stage) => ['off', 'models_verified', 'complete'].includes(stage)))(
    'has nothing to do at %s',
    async (stage) => {
      await using s = await setting('complete', stage);
      await record(s.store, s.clock, times(30, { backend: NEW, status: 'failed' }));
      assert.deepEqual(await s.migration.judge(), []);
    },
  );

  it('goes by the last file that could be read', async () => {
    await using s = await setting('live', 'canary_5');
    assert.deepEqual(await s.migration.judge(), []);
    s.breakFile();
    await record(s.store, s.clock, [{ backend: NEW, status: 'lost' }]);
    assert.equal((await s.migration.judge()).length, 1);
  });

  it('judges in one instance at a time, and another takes over', async () => {
    const clock = manualClock();
    await using store = memoryJobStore({ clock });
    const judged: string[] = [];
    const judgeAs = (owner: string): ReturnType<Migration['judge']> => {
      judged.push(owner);
      return Promise.resolve([]);
    };
    const start = (owner: string): AsyncDisposable =>
      startJudge({
        store,
        owner,
        clock,
        intervalMs: 1_000,
        migration: { judge: () => judgeAs(owner) },
        onProblem: (error) => assert.fail(String(error)),
      });
    const first = start('a');
    await clock.pass(0);
    const begun = clock.now();
    const second = start('b');
    await clock.pass(3_500);
    assert.deepEqual(judged, ['a', 'a', 'a', 'a']);
    const { isHeld, note } = await judgeStatus(store);
    assert.deepEqual([isHeld, note?.owner, note?.since, note?.lastAt], [true, 'a', begun, begun + 3_000]);
    await first[Symbol.asyncDispose]();
    assert.deepEqual(await judgeStatus(store), { isHeld: false, note });
    await clock.pass(1_000);
    assert.deepEqual(judged.slice(4), ['b']);
    assert.equal((await judgeStatus(store)).note?.owner, 'b');
    await second[Symbol.asyncDispose]();
    await store.acquireLease('migration/judge', { owner: 'one that was killed', ms: 5_000 });
    await using _third = start('c');
    await clock.pass(4_000);
    assert.equal(judged.length, 5);
    await clock.pass(2_000);
    assert.equal(judged.at(-1), 'c');
  });

  it('notes a judgement that failed, and when the last one did not', async () => {
    const clock = manualClock(1_000);
    await using store = memoryJobStore({ clock });
    let fails = false;
    const judge = (): ReturnType<Migration['judge']> =>
      fails ? Promise.reject(new Error('unreadable')) : Promise.resolve([]);
    await using _judge = startJudge({ store, owner: 'a', clock, intervalMs: 1_000, migration: { judge } });
    await clock.pass(0);
    fails = true;
    await clock.pass(1_000);
    const { note } = await judgeStatus(store);
    assert.deepEqual([note?.lastAt, note?.problem], [1_000, { at: 2_000, message: 'unreadable' }]);
  });
});

/** Both in turn, as long as there are some. */
function mixed(first: readonly Ran[], second: readonly Ran[]): Ran[] {
  const longer = Math.max(first.length, second.length);
  return Array.from({ length: longer }, (_, index) => index).flatMap((index) =>
    [first[index], second[index]].filter((job) => job !== undefined),
  );
}
