import assert from 'node:assert/strict';

import fc from 'fast-check';
import { describe, it } from 'vitest';

import { lowerTail, quantileRanks, rateInterval, upperTail } from './binomial.ts';

describe('binomial tails', () => {
  it('are the sums that they stand for', () => {
    const trials = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(trials, fc.double({ min: 0.001, max: 0.999, noNaN: true }), (n, p) => {
        let terms = (1 - p) ** n;
        let below = 0;
        for (let k = 0; k <= n; k += 1) {
          near(upperTail(k, n, p), 1 - below);
          below += terms;
          near(lowerTail(k, n, p), below);
          terms *= ((n - k) / (k + 1)) * (p / (1 - p));
        }
      }),
    );
  });

  it('stay exact for many trials and far from the mean', () => {
    near(lowerTail(0, 100_000, 1e-4) / Math.exp(100_000 * Math.log1p(-1e-4)), 1);
    near(upperTail(20, 20, 0.01) / 0.01 ** 20, 1);
    near(upperTail(50_001, 100_001, 0.5), 0.5);
  });
});

describe('the interval of a rate', () => {
  it('has the known ends where nothing or everything happened', () => {
    const levels = { lower: 0.025, upper: 0.025 };
    near(rateInterval(0, 459, { lower: 0.01, upper: 0.01 }).upper, 1 - 0.01 ** (1 / 459));
    near(rateInterval(10, 10, levels).lower, 0.025 ** (1 / 10));
    assert.deepEqual(rateInterval(0, 0, levels), { lower: 0, upper: 1 });
  });

  it('is the published one of 10 in 100', () => {
    const { lower, upper } = rateInterval(10, 100, { lower: 0.025, upper: 0.025 });
    assert.equal(lower.toFixed(4), '0.0490');
    assert.equal(upper.toFixed(4), '0.1762');
  });

  it('misses the rate no more often than asked for, however rare the event', () => {
    for (const [trials, rate] of [
      [20, 0.01],
      [101, 0.02],
      [341, 0.005],
      [50, 0.5],
    ] as const) {
      const levels = { lower: 0.01, upper: 0.02 };
      let [above, below] = [0, 0];
      for (let events = 0; events <= trials; events += 1) {
        const probability = upperTail(events, trials, rate) - upperTail(events + 1, trials, rate);
        const interval = rateInterval(events, trials, levels);
        if (interval.lower > rate) above += probability;
        if (interval.upper < rate) below += probability;
      }
      assert.ok(above <= 0.01 && below <= 0.02, `${trials} jobs, rate ${rate}: ${above}, ${below}`);
    }
  });
});

describe('ranks of a quantile', () => {
  it('are as far apart as the error allows, and no farther', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 400 }),
        fc.double({ min: 1e-6, max: 0.2, noNaN: true }),
        (trials, level) => {
          const { lower, upper } = quantileRanks(0.95, trials, { lower: level, upper: level });
          if (lower > 0) assert.ok(lowerTail(lower - 1, trials, 0.95) <= level);
          assert.ok(lowerTail(lower, trials, 0.95) > level);
          if (upper <= trials) assert.ok(upperTail(upper, trials, 0.95) <= level);
          if (upper > 1) assert.ok(upperTail(upper - 1, trials, 0.95) > level);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('do not exist where the sample is too small', () => {
    // 0.95^58 > 0.05 >= 0.95^59
    assert.equal(quantileRanks(0.95, 58, { lower: 0.05, upper: 0.05 }).upper, 59);
    assert.equal(quantileRanks(0.95, 59, { lower: 0.05, upper: 0.05 }).upper, 59);
  });
});

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 1e-7, `${actual} is not ${expected}`);
}
