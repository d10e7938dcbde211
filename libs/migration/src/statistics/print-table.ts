/** `npm run statistics`: how often the gates are wrong, as the table of docs/migration-stages.md. */
import process from 'node:process';
import { parseArgs } from 'node:util';

import { type Outcome, SCENARIOS, simulate } from './simulation.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1000' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(
    'Usage: npm run statistics -w @ryla/migration -- [--seeds 1000]\n\nSimulates sides with known differences. 1,000 seeds take a few minutes.',
  );
  process.exit(0);
}
const runs = Number(values.seeds);
if (!Number.isSafeInteger(runs) || runs < 1) {
  console.error(`--seeds is a whole number from 1 on, not ${values.seeds}.`);
  process.exit(2);
}
console.log(
  '| figure | jobs on the new side | on the old | false rollback | missed 2x | 2x let through | equal refused |',
);
console.log('| --- | --: | --: | --: | --: | --: | --: |');
for (const scenario of SCENARIOS) console.log(row(simulate(scenario, runs)));

function row(outcome: Outcome): string {
  const { scenario } = outcome;
  const share = (count: number): string => `${((count / runs) * 100).toFixed(1)} %`;
  const cells = [
    scenario.name,
    scenario.jobs.toLocaleString('en'),
    Math.round(scenario.jobs * scenario.baselinePerJob).toLocaleString('en'),
    share(outcome.falseRollbacks),
    share(outcome.missedRegressions),
    share(outcome.wrongAdvances),
    share(outcome.refusedAdvances),
  ];
  return `| ${cells.join(' | ')} |`;
}
