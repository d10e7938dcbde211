import fc from 'fast-check';
import { expect, it } from 'vitest';

import { ExecutionHistory, HISTORY_LENGTH, QUANTILES } from './execution-history.ts';

it('tells nearest ranks of the last executions, however many there were and in whatever order', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 1_000 }), { maxLength: 3 * HISTORY_LENGTH, size: 'max' }),
      (times) => {
        const history = new ExecutionHistory();
        for (const time of times) history.record('w', time);
        const last = times.slice(-HISTORY_LENGTH).sort((a, b) => a - b);
        const ranks = QUANTILES.map((quantile) => last[Math.max(0, Math.ceil(quantile * last.length) - 1)]);
        expect(history.quantiles('w')).toEqual(last.length < 5 ? undefined : ranks);
      },
    ),
    { numRuns: 200 },
  );
});
