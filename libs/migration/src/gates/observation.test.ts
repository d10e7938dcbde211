import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import { type JobPatch, type JobRecord, memoryJobStore } from '@ryla/business';
import { manualClock } from '@ryla/business/testing';
import { describe, it } from 'vitest';

import { JobHistory } from './job-history.ts';
import { COMPARE_TAG, observe } from './observation.ts';

const MINUTE = 60_000;

async function job(patch: JobPatch, afterMs = 1_000): Promise<JobRecord> {
  const clock = manualClock(0);
  const store = memoryJobStore({ clock });
  const intent = { id: randomUUID(), endpoint: 'picture', backend: 'modal:picture', payloadHash: 'h' };
  const { job: created } = await store.create(intent);
  clock.advance(afterMs);
  return (await store.update(created.id, 1, patch)).job;
}

describe('what a job tells', () => {
  it('is nothing before it has ended, unless it is stuck', async () => {
    const running = await job({ status: 'running' });
    assert.equal(observe(running, 9 * MINUTE, 10 * MINUTE), undefined);
    const stuck = observe(running, 11 * MINUTE, 10 * MINUTE);
    assert.deepEqual([stuck?.isMissing, stuck?.isFailed, stuck?.knownAt], [true, undefined, 10 * MINUTE]);
  });

  it("is nothing for a comparison's own job", async () => {
    const ended = await job({ status: 'succeeded' });
    assert.notEqual(observe(ended, 9 * MINUTE, 10 * MINUTE), undefined);
    assert.equal(observe({ ...ended, tags: [COMPARE_TAG] }, 9 * MINUTE, 10 * MINUTE), undefined);
  });

  it('keeps its place when a stuck job ends after all', async () => {
    const late = await job({ status: 'succeeded' }, 30 * MINUTE);
    const told = observe(late, 31 * MINUTE, 10 * MINUTE);
    assert.deepEqual([told?.isMissing, told?.isFailed, told?.knownAt], [true, false, 10 * MINUTE]);
  });

  it('is no cold start where there was none, and no cost where it is an estimate', async () => {
    const timings = { queueMs: 5, coldStartMs: 0, executionMs: 9, uploadMs: null, downloadMs: null };
    const cost = { usd: 1, estimated: true, gpu: null, pricesOf: null };
    const told = observe(await job({ status: 'succeeded', timings, cost }), 2_000, MINUTE);
    assert.equal(told?.coldStartMs, undefined);
    assert.equal(told?.usdPerPicture, undefined);
    assert.equal(told?.isMissing, true);
    assert.deepEqual([told.queueMs, told.executionMs], [5, 9]);
  });
});

describe('the history of an endpoint', () => {
  it('reads what ended since, and jobs of before that end later', async () => {
    const clock = manualClock();
    const store = memoryJobStore({ clock });
    const history = new JobHistory(store, 'picture', clock);
    const began = clock.now();
    const create = async (): Promise<string> => {
      clock.advance(1_000);
      const id = randomUUID();
      await store.create({ id, endpoint: 'picture', backend: 'modal:picture', payloadHash: 'h' });
      return id;
    };
    const [slow, quick] = [await create(), await create()];
    await store.update(quick, 1, { status: 'succeeded' });
    const idsNow = async (): Promise<string[]> =>
      (await history.since(began, 60 * MINUTE)).map(({ id }) => id);
    assert.deepEqual(await idsNow(), [quick]);
    assert.deepEqual(
      history.unfinished.map(({ id }) => id),
      [slow],
    );
    clock.advance(MINUTE);
    await store.update(slow, 1, { status: 'succeeded' });
    const third = await create();
    await store.update(third, 1, { status: 'failed' });
    assert.deepEqual(await idsNow(), [quick, slow, third]);
    assert.deepEqual(history.unfinished, []);
    assert.deepEqual((await history.since(clock.now(), MINUTE)).length, 1);
    // Asked for more again, it reads again.
    assert.deepEqual(await idsNow(), [quick, slow, third]);
  });
});
