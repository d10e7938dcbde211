import assert from 'node:assert/strict';

import fc from 'fast-check';
import { describe, it } from 'vitest';

import { seeded } from '../seeded.ts';
import { ARMS, BLOCK_RUNS, schedule } from './schedule.ts';

describe('the order of a comparison', () => {
  it('has every run three times, within its block, the same for the same seed', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), fc.integer(), (runs, seed) => {
        const turns = schedule(runs, seeded(seed));
        assert.deepEqual(turns, schedule(runs, seeded(seed)));
        for (const [index, { run }] of turns.entries())
          assert.equal(Math.floor(run / BLOCK_RUNS), Math.floor(index / (BLOCK_RUNS * ARMS.length)));
        const names = new Set(turns.map(({ run, arm }) => `${run} ${arm}`));
        assert.equal(names.size, runs * ARMS.length);
      }),
      { numRuns: 50 },
    );
  });

  it('keeps the two old jobs of one run apart in a full block', () => {
    for (let seed = 0; seed < 100; seed += 1) {
      const old = schedule(BLOCK_RUNS, seeded(seed)).filter(({ arm }) => arm !== 'new');
      assert.ok(
        old.every(({ run }, index) => run !== old[index - 1]?.run),
        `seed ${seed}`,
      );
    }
  });

  it('begins with each side about as often', () => {
    const firsts = Array.from({ length: 300 }, (_, seed) => schedule(4, seeded(seed))[0]?.arm);
    const share = firsts.filter((arm) => arm === 'new').length / firsts.length;
    assert.ok(share > 0.2 && share < 0.5, String(share));
  });
});
