import assert from 'node:assert/strict';

import { ComfyUIServiceError, createComfyUIService, type JobResult } from '@ryla/business';
import { memory, type MemoryOutcome } from '@ryla/business/testing';
import type { DeterminismClass } from '@ryla/workflow';
import { describe, expect, it } from 'vitest';

import { COMPARE_TAG } from '../gates/observation.ts';
import { MigrationError } from '../migration-error.ts';
import { compareBackends, type CompareOptions } from './compare.ts';
import { type Comparison, parseComparison } from './comparison.ts';
import { judgeResults } from './judge-results.ts';
import type { UnjudgedPair } from './pair-outputs.ts';
import { hills, pictureFile } from './pictures.fixture.ts';
import type { Volume } from './costs.ts';
import { type Scripted, scriptedEndpoint, scriptedService } from './scripted-service.fixture.ts';
import { dropThumbnails, THUMBNAIL_PAIRS } from './shown-pairs.ts';
import { variedInputs } from './varied-inputs.ts';

const OLD = { backend: 'runpod', gpu: 'L40S' };
const NEW = { backend: 'modal', gpu: 'L40S' };

describe('a comparison through the service', () => {
  it('runs the same inputs on both backends and finds equal pictures equal', async () => {
    const picture = await pictureFile('png', 64, 48, hills(1));
    const outcome: MemoryOutcome = {
      type: 'succeed',
      outputs: [{ nodeId: '2', name: 'p_00001_.png', bytes: picture }],
    };
    const [old, now] = [memory({ outcome }), memory({ outcome })];
    await using service = createComfyUIService({ adapters: { runpod: old, modal: now } });
    const inputs = variedInputs(scriptedEndpoint, { prompt: 'a hill' }, 3);
    const seen: string[] = [];
    const comparison = await compareBackends({
      ...{ service, endpoint: scriptedEndpoint, inputs, old: OLD, new: NEW, runs: 3 },
      onProgress: ({ done, total, job }) => seen.push(`${done}/${total} ${job.backend} ${job.status}`),
    });
    assert.deepEqual([old.received.length, now.received.length, seen.length], [6, 3, 9]);
    const seeds = (adapter: typeof old): unknown[] =>
      adapter.received.map(({ job }) => job.workflow['1']?.inputs['seed']).toSorted();
    assert.deepEqual([...new Set(seeds(old))], seeds(now));
    assert.deepEqual(
      comparison.pairs.map(({ result }) => result),
      Array(6).fill('same'),
    );
    expect(comparison.verdict.state).toBe('unsure'); // three runs do not show what a picture costs
    const { jobs } = await service.jobs.list({});
    assert.ok(jobs.every(({ tags }) => tags.includes(COMPARE_TAG)));
    assert.deepEqual(parseComparison(JSON.stringify(comparison)), comparison);
  });

  it('stops and cancels the running job when it is aborted', async () => {
    const never = memory({ outcome: { type: 'never' } });
    const other = memory({ outcome: { type: 'never' } });
    await using service = createComfyUIService({ adapters: { runpod: never, modal: other } });
    const aborted = new AbortController();
    const comparing = compareBackends({
      ...{ service, endpoint: scriptedEndpoint, inputs: [{}], old: OLD, new: NEW, runs: 2 },
      signal: aborted.signal,
    });
    await expect.poll(() => never.received.length + other.received.length).toBe(1);
    aborted.abort(new Error('enough'));
    await expect(comparing).rejects.toThrow('enough');
    assert.equal(new Set([...never.canceled, ...other.canceled]).size, 1);
  });
});

describe('the verdict', () => {
  it('is ready when pictures, time and cost are alike', async () => {
    const comparison = await compared(async () => ({ outputs: [['a.png', await png(1)]] }));
    assert.deepEqual(states(comparison), {
      jobs: 'pass',
      facts: 'pass',
      parity: 'pass',
      latency: 'pass',
      cost: 'pass',
    });
    assert.equal(comparison.verdict.state, 'ready');
  });

  it('is not ready when the new side is slower and dearer', async () => {
    const comparison = await compared(async (backend, nth) => ({
      outputs: [['a.png', await png(1)]],
      executionMs: (backend === 'modal' ? 3_000 : 1_000) + nth,
    }));
    assert.deepEqual([states(comparison).latency, states(comparison).cost], ['fail', 'fail']);
    expect(comparison.verdict).toMatchObject({
      state: 'not-ready',
      sentence: /^scripted from runpod to modal: it is not ready/,
    });
  });

  it('keeps cold and warm jobs apart', async () => {
    const comparison = await compared(async (_, nth) => ({
      outputs: [['a.png', await png(1)]],
      coldStartMs: nth === 0 ? 20_000 : 0,
    }));
    const of = (start: string, phase: string) =>
      comparison.latency.find((each) => each.start === start && each.phase === phase);
    expect(of('cold', 'coldStart')).toMatchObject({ old: { jobs: 1, median: 20_000 }, new: { jobs: 1 } });
    expect(of('warm', 'total')?.new).toMatchObject({ jobs: 29, median: 1_010, p95: 1_010 });
    expect(of('warm', 'total')?.new.p95Interval.upper).toBe(null); // 29 jobs do not bound a p95
    assert.equal(of('warm', 'coldStart'), undefined);
    expect(comparison.sides.new.coldStartSeconds).toBe(20);
  });

  it('is unsure of latency where a backend does not tell cold from warm', async () => {
    const comparison = await compared(async (backend) => ({
      outputs: [['a.png', await png(1)]],
      coldStartMs: backend === 'runpod' ? null : 0,
    }));
    assert.equal(states(comparison).latency, 'unsure');
  });

  it('counts jobs that fail, and is not ready for them', async () => {
    const broken = new ComfyUIServiceError('out_of_memory', 'Out of memory.');
    const comparison = await compared(async (backend, nth) =>
      backend === 'modal' && nth === 4 ? { error: broken } : { outputs: [['a.png', await png(1)]] },
    );
    expect(comparison.checks[0]).toEqual({
      ...{ name: 'jobs', state: 'fail' },
      text: '1 of 30 jobs failed on the new side, 0 of 60 on the old.',
    });
    assert.equal(comparison.jobs.find(({ status }) => status === 'failed')?.error?.code, 'out_of_memory');
    assert.equal(comparison.pairs.filter(({ against }) => against === 'new').length, 29);
  });
});

describe('outputs', () => {
  it.each([
    ['a picture less', () => Promise.resolve({ outputs: [] }), 'Only the old side made it.'],
    [
      'another size',
      async () => one('a.png', await pictureFile('png', 32, 48, hills(1))),
      'The size was 64 x 48 and is 32 x 48 pixels.',
    ],
    [
      'another format under the same name',
      async () => one('a.png', await pictureFile('webp', 64, 48, hills(1))),
      'The format was png and is webp.',
    ],
    [
      'a broken picture',
      async () => one('a.png', (await png(1)).subarray(0, 200)),
      'The picture of the new side cannot be decoded.',
    ],
  ] as const)('differ by %s', async (_, now, reason) => {
    const comparison = await compared(
      async (backend) => (backend === 'modal' ? now() : one('a.png', await png(1))),
      2,
    );
    assert.deepEqual([states(comparison).facts, comparison.verdict.state], ['fail', 'not-ready']);
    expect(comparison.pairs.find(({ against }) => against === 'new')).toMatchObject({
      result: 'differs',
      reasons: [reason],
    });
  });

  it('of text are compared exactly, those of video by bytes and container', async () => {
    const video = (brand: string, end: string): Uint8Array => Buffer.from(`\0\0\0\x18ftyp${brand}${end}`);
    const of = (word: string, end: string): Scripted => ({
      outputs: [
        ['t.txt', Buffer.from(word), 'text'],
        ['v.mp4', video('isom', end), 'video'],
        ['w.mp4', end === 'new' ? Buffer.from('OggS and more than this') : video('isom', ''), 'video'],
      ],
    });
    const comparison = await compared(
      (backend) => (backend === 'modal' ? of('Word', 'new') : of('word', 'old')),
      1,
    );
    const found = comparison.pairs.filter(({ against }) => against === 'new');
    assert.deepEqual(
      found.map(({ name, result }) => `${name} ${result}`),
      ['t.txt differs', 'v.mp4 look', 'w.mp4 differs'],
    );
    assert.ok(comparison.pairs.every(({ against, result }) => against === 'new' || result === 'same'));
  });
});

describe('a month at the volume of the team', () => {
  async function monthOf(idleSeconds: number | undefined, volume: Volume) {
    const picture = await png(1);
    const { checks, volume: kept } = await compareBackends({
      service: scriptedService(() => ({ gpu: 'L40S', ...one('a.png', picture) })),
      endpoint: scriptedEndpoint,
      inputs: [{}],
      old: { ...OLD, idleSeconds: 5 },
      new: { ...NEW, ...(idleSeconds === undefined ? {} : { idleSeconds }) },
      runs: 2,
      volume,
    });
    assert.deepEqual(kept, { hoursPerDay: 24, ...volume });
    const found = checks.find(({ name }) => name === 'month');
    return [found?.state, found?.text];
  }

  it('is a check with idle time: a worker that waits long costs more where jobs are few', async () => {
    const few = { jobsPerMonth: 1_000, hoursPerDay: 8 };
    assert.deepEqual((await monthOf(5, few))[0], 'pass');
    const [state, text] = await monthOf(600, few);
    assert.equal(state, 'fail');
    assert.match(text ?? '', /^1000 jobs a month over 8 hours a day cost about \$.* idle; /);
  });

  it('is unsure where the idle time of a side is not known, and refuses what is no volume', async () => {
    assert.equal((await monthOf(undefined, { jobsPerMonth: 10 }))[0], 'unsure');
    await assert.rejects(monthOf(5, { jobsPerMonth: 0 }), /above 0/);
    await assert.rejects(monthOf(5, { jobsPerMonth: 1, hoursPerDay: 25 }), /up to 24/);
  });
});

describe('the noise floor', () => {
  it.each([
    ['exact', 0, 3, 'differs'],
    ['exact', 6, 6, 'within-noise'],
    ['cpu-noise', 0, 1, 'within-noise'],
    ['cpu-noise', 0, 60, 'differs'],
    ['unknown', 0, 1, 'differs'],
    ['device-noise', 0, 60, 'look'],
  ] as const)(
    'of a workflow of class %s, grain %d on the old side and %d on the new: %s',
    async (determinism, grain, newGrain, result) => {
      const comparison = await compared(
        async (backend, nth) => ({
          gpu: backend === 'modal' ? 'H100' : 'L40S',
          ...one(
            'a.png',
            await pictureFile('png', 64, 48, hills(1, backend === 'modal' ? newGrain : grain, nth % 4)),
          ),
        }),
        12,
        determinism,
      );
      const results = comparison.pairs.filter(({ against }) => against === 'new').map((pair) => pair.result);
      const most = results.filter((each) => each === result).length;
      assert.ok(most >= 11, `${most} of ${results.length} ${result}`);
      assert.deepEqual(
        comparison.floors.map(({ node, index, pairs, isSure }) => ({ node, index, pairs, isSure })),
        [{ node: '2', index: 0, pairs: 12, isSure: false }],
      );
    },
  );

  it('of GPU noise judges where both sides have one card', async () => {
    const comparison = await compared(
      async (backend) => one('a.png', await png(backend === 'modal' ? 9 : 1)),
      4,
      'device-noise',
    );
    assert.equal(comparison.parity.differing, 4);
  });

  it('keeps small copies of the pairs that differ most', async () => {
    const comparison = await compared(
      async (backend, _, { seed }) => one('a.png', await png(backend === 'modal' && seed === 7 ? 9 : 1)),
      20,
      'exact',
    );
    assert.equal(comparison.thumbnails.length, THUMBNAIL_PAIRS);
    assert.deepEqual(
      [comparison.thumbnails[0]?.result, comparison.thumbnails[1]?.result],
      ['differs', 'same'],
    );
  }, 20_000);
});

describe('small copies', () => {
  it('are let go of the pairs that differ least, so that a long comparison fits into memory', () => {
    const pairs = Array.from({ length: 200 }, (_, run): UnjudgedPair => {
      const difference = { ssimLoss: run / 200, hashBits: 0, meanDifference: 0, changedShare: 1, largest: 1 };
      const place = { run, against: 'new', node: '2', index: 0, name: 'a.png', kind: 'image' } as const;
      const thumbnails = { old: '', new: '', difference: undefined };
      return { ...place, result: undefined, reasons: [], difference, thumbnails };
    });
    dropThumbnails(pairs);
    const kept = pairs.filter(({ thumbnails }) => thumbnails !== undefined).map(({ run }) => run);
    assert.deepEqual(
      kept,
      Array.from({ length: 48 }, (_, index) => 152 + index),
    );
  });
});

describe('pictures beyond the noise floor', () => {
  it('do not fail a comparison in which they are few and near, and do where they are far', async () => {
    const grainy = (newGrain: number) =>
      compared(async (backend, nth) => {
        const grain = backend === 'modal' && nth === 5 ? newGrain : 4 + (nth % 3);
        return one('a.png', await pictureFile('png', 64, 48, hills(1, grain, nth % 5)));
      }, 40);
    const near = await grainy(8);
    assert.ok(near.parity.differing > 0 && near.parity.chance >= 0.05);
    assert.deepEqual([near.parity.far, states(near).parity], [0, 'pass']);
    const far = await grainy(90);
    assert.deepEqual([far.parity.far, far.parity.chance], [1, 0]);
    assert.notEqual(states(far).parity, 'pass');
  }, 20_000);
});

describe('a pair of real jobs', () => {
  it('is judged by the noise floor that a comparison measured', async () => {
    const found = await compared(
      async (_, nth) => one('a.png', await pictureFile('png', 64, 48, hills(1, 5, nth % 4))),
      10,
    );
    const judge = judgeResults(found);
    const result = async (seed: number, grain: number): Promise<JobResult> => {
      const picture = await pictureFile('png', 64, 48, hills(seed, 5, grain));
      return scriptedService(() => one('a.png', picture)).run(scriptedEndpoint, {});
    };
    const signal = new AbortController().signal;
    assert.equal(await judge(await result(1, 0), await result(1, 1), signal), 'same');
    assert.equal(await judge(await result(1, 0), await result(9, 0), signal), 'differs');
    const none = await scriptedService(() => ({})).run(scriptedEndpoint, {});
    assert.equal(await judge(none, none, signal), undefined);
  });
});

describe('what cannot be compared', () => {
  const options = {
    service: scriptedService(() => ({})),
    endpoint: scriptedEndpoint,
    inputs: [{}],
    old: OLD,
    new: NEW,
  };

  it.each([
    ['no runs', { runs: 0 }, 'runs is a whole number from 1 to 10000, not 0.'],
    ['no inputs', { inputs: [] }, 'A comparison needs inputs'],
    ['one side', { new: OLD }, 'Both sides are runpod: name two backends.'],
    ['a seed that is none', { seed: 0.5 }, 'seed is a whole number, not 0.5.'],
  ])('is refused: %s', async (_, wrong, message) => {
    await expect(compareBackends({ ...options, runs: 1, ...wrong })).rejects.toThrow(message);
  });

  it('is refused at once when every job would fail', async () => {
    let asked = 0;
    const service = scriptedService(() => {
      asked += 1;
      return { error: new ComfyUIServiceError('unauthorized', 'The key is wrong.') };
    });
    await expect(compareBackends({ ...options, service, runs: 5 })).rejects.toThrow('The key is wrong.');
    assert.equal(asked, 1);
  });

  it('is no comparison when it is read', () => {
    assert.throws(
      () => parseComparison('{'),
      (error) => MigrationError.isInstance(error) && error.code === 'invalid_file',
    );
    assert.throws(() => parseComparison('{"version":2}'), /is no comparison/);
    assert.throws(() => parseComparison('{"version":1}'), /another release/);
  });
});

/** 30 runs, unless a test needs no sure verdict. */
async function compared(
  script: Parameters<typeof scriptedService>[0],
  runs = 30,
  determinism: DeterminismClass = 'exact',
): Promise<Comparison> {
  const options: CompareOptions<{ readonly seed?: number }> = {
    service: scriptedService(script),
    endpoint: scriptedEndpoint,
    inputs: Array.from({ length: runs }, (_, seed) => ({ seed })),
    old: OLD,
    new: NEW,
    runs,
    determinism: { class: determinism, why: '' },
  };
  return compareBackends(options);
}

function states({ checks }: Comparison) {
  const of = (name: string): string | undefined => checks.find((check) => check.name === name)?.state;
  return {
    jobs: of('jobs'),
    facts: of('facts'),
    parity: of('parity'),
    latency: of('latency'),
    cost: of('cost'),
  };
}

function one(name: string, content: Uint8Array): Scripted {
  return { outputs: [[name, content]] };
}

const made = new Map<number, Promise<Uint8Array>>();

function png(seed: number): Promise<Uint8Array> {
  const picture = made.get(seed) ?? pictureFile('png', 64, 48, hills(seed));
  made.set(seed, picture);
  return picture;
}
