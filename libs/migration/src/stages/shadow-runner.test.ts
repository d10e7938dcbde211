import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import {
  bucketOf,
  BUCKETS,
  changeJob,
  type Clock,
  type ComfyUIService,
  ComfyUIServiceError,
  createComfyUIService,
  type JobRecord,
  type JobStore,
  memoryJobStore,
  MODAL_PRICES,
} from '@ryla/business';
import { manualClock, memory, type MemoryAdapter, type MemoryOutcome } from '@ryla/business/testing';
import { describe, it } from 'vitest';

import { parseMigrationFile } from '../file/migration-file.ts';
import { PARITY_TAGS, SHADOW_TAG } from '../gates/observation.ts';
import { fileText, NEW, OLD, picture } from './endpoint.fixture.ts';
import { openShadows, setAside, spentToday } from './shadow-budget.ts';
import {
  type CompareResults,
  createShadowRunner,
  shadowing,
  type ShadowRunner,
  worstCaseUsd,
} from './shadow-runner.ts';
import type { Stage } from './stage.ts';

interface Setting extends AsyncDisposable {
  readonly store: JobStore;
  readonly service: ComfyUIService;
  readonly runner: ShadowRunner;
  readonly old: MemoryAdapter;
  readonly fresh: MemoryAdapter;
  readonly problems: readonly unknown[];
  shadows(): Promise<readonly JobRecord[]>;
  spent(): Promise<number>;
}

interface Options {
  readonly stage?: Stage;
  readonly share?: number;
  readonly usdPerDay?: number;
  readonly outcome?: MemoryOutcome;
  readonly compare?: CompareResults;
  readonly store?: JobStore;
  /** With the same clouds as another. */
  readonly clouds?: Pick<Setting, 'old' | 'fresh'>;
  readonly clock?: Clock;
}

function setting(options: Options = {}): Setting {
  const { stage = 'shadow', share = 1, usdPerDay = 5, outcome, compare, clock } = options;
  const given = options.store;
  // A service closes its store; one that is handed in outlives it.
  const store = given === undefined ? memoryJobStore() : { ...given, close: () => Promise.resolve() };
  const old = options.clouds?.old ?? memory();
  const fresh = options.clouds?.fresh ?? memory(outcome === undefined ? {} : { outcome });
  const first = stage === 'live' ? NEW : OLD;
  const inner = createComfyUIService({
    adapters: { [OLD]: old, [NEW]: fresh },
    store,
    routes: { default: [{ backend: first, weight: 1 }] },
  });
  const problems: unknown[] = [];
  const runner = createShadowRunner({
    service: inner,
    store,
    file: parseMigrationFile(fileText('live', { shadow: { share, usdPerDay } })),
    stageOf: () => stage,
    atMostUsd: () => 0.01,
    onProblem: (_, error) => problems.push(error),
    ...(compare === undefined ? {} : { compare }),
    ...(clock === undefined ? {} : { clock }),
  });
  return {
    store,
    service: shadowing(inner, runner),
    runner,
    old,
    fresh,
    problems,
    shadows: async () => (await store.list({ tag: SHADOW_TAG })).jobs,
    spent: async () => (await spentToday(store, 'picture', Date.now())).usd,
    [Symbol.asyncDispose]: async () => {
      await runner.close();
      await inner.close();
    },
  };
}

describe('a shadow job', () => {
  it('runs on the other side with the same inputs, and the user gets the real one', async () => {
    await using s = setting();
    const result = await s.service.run(picture, { seed: 7 });
    await s.runner.settled();
    assert.equal(result.backend, OLD);
    const [shadow, ...others] = await s.shadows();
    assert.deepEqual(others, []);
    assert.equal(shadow?.backend, NEW);
    assert.ok(shadow.tags.includes(`${SHADOW_TAG}:of:${result.jobId}`));
    assert.notEqual(shadow.id, result.jobId);
    assert.deepEqual(s.fresh.received[0]?.job.workflow, s.old.received[0]?.job.workflow);
  });

  it('runs on the old side once the new one is live, and on neither where nothing is compared', async () => {
    await using live = setting({ stage: 'live' });
    await live.service.run(picture, {});
    await live.runner.settled();
    assert.equal((await live.shadows())[0]?.backend, OLD);
    for (const stage of ['off', 'models_verified', 'ramp_down', 'complete'] as const) {
      await using quiet = setting({ stage });
      await quiet.service.run(picture, {});
      await quiet.runner.settled();
      assert.deepEqual(await quiet.shadows(), []);
    }
  });

  it('is sampled by the job’s id, as often as the file says', async () => {
    await using s = setting({ share: 0.1 });
    const ids = Array.from({ length: 40 }, () => randomUUID());
    for (const jobId of ids) {
      await s.service.submit(picture, {}, { jobId });
      await s.runner.settled();
    }
    const sampled = ids.filter((id) => bucketOf(SHADOW_TAG, id) < 0.1 * BUCKETS);
    const shadowed = (await s.shadows()).map(({ tags }) => tags[1]);
    assert.deepEqual(shadowed.sort(), sampled.map((id) => `${SHADOW_TAG}:of:${id}`).sort());
  });

  it('is never waited for, and its failure is nobody’s', async () => {
    await using s = setting({ outcome: { type: 'never' } });
    assert.equal((await s.service.run(picture, {})).backend, OLD);
    await using refused = setting({
      outcome: {
        type: 'refuse',
        error: new ComfyUIServiceError('unauthorized', 'No.', { accepted: 'no' }),
      },
    });
    assert.equal((await refused.service.run(picture, {})).backend, OLD);
    await refused.runner.settled();
    assert.equal(refused.problems.length, 1);
    // What was surely not taken costs nothing.
    assert.equal(await refused.spent(), 0);
  });

  it('leaves jobs alone that were sent to a backend by name', async () => {
    await using s = setting();
    await s.service.run(picture, {}, { backend: OLD });
    await s.runner.settled();
    assert.deepEqual(await s.shadows(), []);
  });

  it.each([
    ['same', PARITY_TAGS.same],
    ['differs', PARITY_TAGS.differs],
  ] as const)('carries the verdict "%s" on its outputs', async (verdict, tag) => {
    const seen: string[] = [];
    const compare: CompareResults = (real, shadow) => {
      seen.push(real.backend, shadow.backend);
      return Promise.resolve(verdict);
    };
    await using s = setting({ compare });
    await s.service.run(picture, {});
    await s.runner.settled();
    assert.deepEqual(s.problems, []);
    assert.deepEqual(seen, [OLD, NEW]);
    assert.ok((await s.shadows())[0]?.tags.includes(tag));
  });
});

describe('a shadow job whose process ends first', () => {
  it('is handed over before, for as long as the process waits', async () => {
    const store = memoryJobStore();
    {
      await using s = setting({ store, outcome: { type: 'never' } });
      const { id } = await s.service.submit(picture, {});
      await s.runner.handedOver(30_000);
      assert.deepEqual(
        (await s.shadows()).map(({ tags, backend }) => [tags[1], backend]),
        [[`${SHADOW_TAG}:of:${id}`, NEW]],
      );
      assert.equal(s.fresh.received.length, 1);
    }
    assert.equal((await openShadows(store)).length, 1);
  });

  it('is settled and judged by another', async () => {
    const store = memoryJobStore();
    let hasBegun = (): void => undefined;
    const begun = new Promise<void>((resolve) => (hasBegun = resolve));
    const clouds = { old: memory(), fresh: memory() };
    {
      const forever: CompareResults = (_real, _shadow, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(new Error('closed')));
          hasBegun();
        });
      await using s = setting({ store, clouds, compare: forever });
      await s.service.run(picture, {});
      await begun;
    }
    // The store hands out what nobody looks after: also to one that cannot compare, which leaves it to another.
    await using blind = setting({ store });
    await blind.runner.collect();
    assert.equal((await openShadows(store)).length, 1);
    let compared = 0;
    const compare: CompareResults = () => {
      compared += 1;
      return Promise.resolve('same');
    };
    await using next = setting({ store, clouds, compare });
    await next.runner.collect();
    await next.runner.collect();
    assert.deepEqual([next.problems, compared, await openShadows(store)], [[], 1, []]);
    assert.ok((await next.shadows())[0]?.tags.includes(PARITY_TAGS.same));
  });

  it('gives its money back once: what it cost stays spent, and all of it where it never came to be', async () => {
    const clock = manualClock(Date.now());
    const store = memoryJobStore();
    await using s = setting({ store, clock });
    const money = { atMostUsd: 1, usdPerDay: 5, now: clock.now() };
    const real = await s.service.run(picture, {}, { backend: OLD });
    const id = randomUUID();
    await setAside(store, 'picture', { ...money, job: { id, of: real.jobId } });
    await s.runner.collect();
    assert.equal(await s.spent(), 1);
    await s.service.run(picture, {}, { backend: NEW, jobId: id, tags: [SHADOW_TAG] });
    await changeJob(store, id, () => ({
      patch: { cost: { usd: 0.25, estimated: false, gpu: 'L4', pricesOf: null } },
    }));
    await Promise.all([s.runner.collect(), s.runner.collect()]);
    assert.equal(await s.spent(), 0.25);
    await setAside(store, 'picture', { ...money, job: { id: randomUUID(), of: real.jobId } });
    await s.runner.collect();
    assert.equal(await s.spent(), 1.25);
    clock.advance(16 * 60_000);
    await s.runner.collect();
    assert.equal(await s.spent(), 0.25);
    // What nobody could judge is forgotten after a day.
    clock.advance(24 * 3_600_000);
    await s.runner.collect();
    assert.deepEqual(await openShadows(store), []);
  });
});

describe('the daily spend cap', () => {
  it('is kept by jobs under way too', async () => {
    await using s = setting({ usdPerDay: 0.035, outcome: { type: 'never' } });
    for (let job = 0; job < 6; job += 1) await s.service.submit(picture, {});
    while ((await s.shadows()).length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal((await s.shadows()).length, 3);
    assert.equal(await s.spent(), 0.03);
  });

  it('is kept by many instances together', async () => {
    const store = memoryJobStore();
    const now = Date.now();
    const asked = await Promise.all(
      Array.from({ length: 50 }, () => setAside(store, 'picture', { atMostUsd: 0.3, usdPerDay: 3, now })),
    );
    const given = asked.filter((money) => money !== undefined);
    assert.equal(given.length, 10);
    await given[0]?.settle(0.1);
    await given[0]?.settle(0.1);
    assert.ok(Math.abs((await spentToday(store, 'picture', now)).usd - 2.8) < 1e-8);
    // The next day begins anew, and what ends then was paid by the day before.
    const tomorrow = now + 24 * 3_600_000;
    await setAside(store, 'picture', { atMostUsd: 1, usdPerDay: 3, now: tomorrow });
    await given[1]?.settle(0);
    assert.deepEqual(await spentToday(store, 'picture', tomorrow), { usd: 1, jobs: 1 });
  });

  it('counts the most that a job may cost', () => {
    const l4 = MODAL_PRICES.gpus.find(({ name }) => name === 'L4')?.perSecond ?? 0;
    const usd = worstCaseUsd(picture.config, NEW);
    assert.ok(usd >= 60 * l4, `${usd}`);
    const dearer = worstCaseUsd({ ...picture.config, gpu: ['L4', 'H100:2'] }, NEW);
    assert.ok(dearer > 5 * usd);
  });
});
