/**
 * `npm run test:scenarios [-- --only <part of a name> …]`: every scenario in a clone of the workspace, against local clouds, with
 * the real Nx and the real modal client. Prints the table of docs/ci.md; exit 1 where something else was deployed.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';

import { WorkspaceOrigin } from '../test-support/workspace-clone.ts';
import { LocalAccount } from './local-account.ts';
import { SCENARIOS } from './scenarios.ts';
import { playScenario } from './play.ts';

const { values } = parseArgs({ options: { only: { type: 'string', multiple: true, default: [''] } } });
const chosen = SCENARIOS.filter(({ name }) => values.only.some((part) => name.includes(part)));
if (chosen.length === 0) {
  console.error(
    `No scenario has ${values.only.join(' or ')} in its name:\n  ${SCENARIOS.map(({ name }) => name).join('\n  ')}`,
  );
  process.exit(2);
}
await using origin = await WorkspaceOrigin.make();
await using account = await LocalAccount.start();
const rows: string[] = [];
let failures = 0;
for (const [index, scenario] of chosen.entries()) {
  const { done, error, seconds } = await playScenario(scenario, origin, account, `s${index + 1}`);
  if (error !== undefined) {
    failures += 1;
    console.error(`✗ ${scenario.name}: ${error}`);
  } else console.error(`✓ ${scenario.name} (${seconds.toFixed(1)} s)`);
  const results = Object.entries(done?.results ?? {}).map(([endpoint, result]) => `${endpoint} ${result}`);
  const cells = [
    scenario.name,
    scenario.expected,
    done?.selected.join(', ') || 'nothing',
    error === undefined ? results.join(', ') || 'nothing' : 'FAILED',
  ];
  rows.push(`| ${cells.join(' | ')} |`);
}
console.log('| change | must be deployed | looked at | what happened |\n| --- | --- | --- | --- |');
console.log(rows.join('\n'));
console.log(`\n${chosen.length - failures} passed, ${failures} failed`);
process.exitCode = failures === 0 ? 0 : 1;
