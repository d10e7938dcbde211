import assert from 'node:assert/strict';

import { describe, it } from 'vitest';

import { SCENARIOS, simulate } from './simulation.ts';

/** The table of docs/migration-stages.md has 1,000 seeds; these show that the code still is what the table is about. */
const SEEDS = 15;

describe('sides with known differences', () => {
  it.each(SCENARIOS.map((scenario) => [`${scenario.name}, ${scenario.jobs} jobs`, scenario] as const))(
    '%s: neither a false rollback nor a missed regression',
    (_, scenario) => {
      const { falseRollbacks, missedRegressions, wrongAdvances, refusedAdvances } = simulate(scenario, SEEDS);
      assert.deepEqual(
        { falseRollbacks, missedRegressions, wrongAdvances, refused: refusedAdvances > 1 },
        { falseRollbacks: 0, missedRegressions: 0, wrongAdvances: 0, refused: false },
      );
    },
  );
});
