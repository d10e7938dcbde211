/**
 * `npm run test:scenarios [-- --only <part of a name> …] [-- --table <file>]`: every scenario in a clone of the workspace, against
 * local clouds, with the real Nx and the real modal client. Prints the table of docs/ci.md, and with `--table` keeps it up to date in
 * a file while it runs; exit 1 where something else was deployed. Ctrl-C ends the clouds and removes the clones.
 */
import { writeFileSync } from 'node:fs';
import process from 'node:process';
import { parseArgs } from 'node:util';

import { WorkspaceOrigin } from '../test-support/workspace-clone.ts';
import { LocalAccount } from './local-account.ts';
import { playScenario } from './play.ts';
import { ENDPOINT_NAMES, SCENARIOS } from './scenarios.ts';

const { values } = parseArgs({
  options: { only: { type: 'string', multiple: true, default: [''] }, table: { type: 'string' } },
});
const chosen = SCENARIOS.filter(({ name }) => values.only.some((part) => name.includes(part)));
if (chosen.length === 0) {
  console.error(
    `No scenario has ${values.only.join(' or ')} in its name:\n  ${SCENARIOS.map(({ name }) => name).join('\n  ')}`,
  );
  process.exit(2);
}
await using origin = await WorkspaceOrigin.make(ENDPOINT_NAMES);
await using account = await LocalAccount.start();
const begun = performance.now();
const minutes = (): string => `${((performance.now() - begun) / 60_000).toFixed(1)} min`;
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    console.error(`${signal}: ending.`);
    void Promise.allSettled([account[Symbol.asyncDispose](), origin[Symbol.asyncDispose]()]).then(() =>
      process.exit(130),
    );
  });
const HEAD = ['| change | must be deployed | looked at | what happened |', '| --- | --- | --- | --- |'];
const rows: string[] = [];
let failures = 0;
for (const [index, scenario] of chosen.entries()) {
  console.error(`[${minutes()}, ${index + 1} of ${chosen.length}] ${scenario.name}`);
  const { done, error, seconds } = await playScenario(scenario, origin, account, `s${index + 1}`);
  if (error !== undefined) {
    failures += 1;
    console.error(`  ✗ after ${seconds.toFixed(0)} s: ${error}`);
  } else console.error(`  ✓ in ${seconds.toFixed(0)} s`);
  const results = Object.entries(done?.results ?? {}).map(([endpoint, result]) => `${endpoint} ${result}`);
  const cells = [
    scenario.name,
    scenario.expected,
    done?.selected.join(', ') || 'nothing',
    error === undefined ? results.join(', ') || 'nothing' : 'FAILED',
  ];
  rows.push(`| ${cells.join(' | ')} |`);
  if (values.table !== undefined) writeFileSync(values.table, `${[...HEAD, ...rows].join('\n')}\n`);
}
console.log([...HEAD, ...rows].join('\n'));
console.log(`\n${chosen.length - failures} passed, ${failures} failed, ${minutes()}`);
process.exitCode = failures === 0 ? 0 : 1;
