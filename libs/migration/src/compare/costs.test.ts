import assert from 'node:assert/strict';

import { MODAL_PRICES } from '@ryla/business';
import fc from 'fast-check';
import { describe, it } from 'vitest';

import { pricesOf, projectedCost, usdOf } from './costs.ts';

const SIDE = {
  usdPerSecond: 0.001,
  idleSeconds: 60,
  executionSeconds: 5,
  coldStartSeconds: 20,
  picturesPerJob: 1,
};

describe('the cost of measured seconds', () => {
  it('is that of the dated table of the provider that the backend is named after', () => {
    assert.equal(pricesOf({ backend: 'modal:flux' }), MODAL_PRICES);
    const times = { executionMs: 10_000, coldStartMs: 5_000 };
    assert.equal(usdOf({ backend: 'modal' }, 'L40S', times), 0.00813);
    assert.equal(usdOf({ backend: 'modal' }, 'L40S:2', times), 0.01626);
    assert.equal(usdOf({ backend: 'runpod:flux' }, 'NVIDIA GeForce RTX 4090', times), 0.00465);
  });

  it('is not known without a price, a card or a duration', () => {
    const times = { executionMs: 10_000, coldStartMs: 0 };
    assert.equal(usdOf({ backend: 'elsewhere' }, 'L40S', times), null);
    assert.equal(usdOf({ backend: 'modal' }, null, times), null);
    assert.equal(usdOf({ backend: 'modal' }, 'GTX 1', times), null);
    assert.equal(usdOf({ backend: 'modal' }, 'L40S', { ...times, executionMs: null }), null);
  });
});

describe('a month at a volume', () => {
  it('pays a cold start and all of the idle time for every one of a few jobs', () => {
    const cost = projectedCost(SIDE, { jobsPerMonth: 10 });
    assert.ok(cost !== undefined && cost.coldShare > 0.999);
    near(cost.usdPerPicture, 0.001 * (5 + 20 + 60), 0.001);
  });

  it('pays hardly more than the execution when a worker is always busy', () => {
    const cost = projectedCost(SIDE, { jobsPerMonth: 30 * 24 * 720 });
    assert.ok(cost !== undefined && cost.coldShare < 1e-5 && cost.utilisation === 1);
    near(cost.usdPerPicture, 0.005, 0.001);
  });

  it('is what a simulated month costs', () => {
    const volume = { jobsPerMonth: 12_000, hoursPerDay: 12 };
    const cost = projectedCost(SIDE, volume);
    near(cost?.usdPerMonth ?? 0, simulated(volume.jobsPerMonth, 30 * 12 * 3_600) * 0.001, 0.03);
  });

  it('counts every output of a job, and is cheaper for more of them', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 1_000_000 }),
        (picturesPerJob, jobsPerMonth) => {
          const one = projectedCost(SIDE, { jobsPerMonth });
          const many = projectedCost({ ...SIDE, picturesPerJob }, { jobsPerMonth });
          near(one?.usdPerPicture ?? 0, (many?.usdPerPicture ?? 0) * picturesPerJob, 1e-9);
        },
      ),
    );
  });

  it('is not known where something was not measured, or the volume is none', () => {
    assert.equal(projectedCost({ ...SIDE, idleSeconds: null }, { jobsPerMonth: 10 }), undefined);
    assert.equal(projectedCost({ ...SIDE, executionSeconds: null }, { jobsPerMonth: 10 }), undefined);
    assert.equal(projectedCost(SIDE, { jobsPerMonth: 0 }), undefined);
    assert.equal(projectedCost(SIDE, { jobsPerMonth: 10, hoursPerDay: 25 }), undefined);
  });
});

/** Seconds that one worker is paid for, job by job; a cold start delays nobody else here. */
function simulated(jobs: number, seconds: number): number {
  let [freeAt, billed, now, state] = [-Infinity, 0, 0, 42];
  const random = (): number => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
  for (let job = 0; job < jobs; job += 1) {
    now += -Math.log(random()) * (seconds / jobs);
    const gap = now - freeAt;
    if (gap > 0) billed += Number.isFinite(gap) ? Math.min(gap, SIDE.idleSeconds) : 0;
    if (gap > SIDE.idleSeconds) billed += SIDE.coldStartSeconds;
    billed += SIDE.executionSeconds;
    freeAt = Math.max(now, freeAt) + SIDE.executionSeconds;
  }
  return billed;
}

function near(actual: number, expected: number, relative: number): void {
  assert.ok(Math.abs(actual - expected) <= relative * Math.abs(expected), `${actual} is not ${expected}`);
}
