/** `nx run <endpoint>:costs [--for "this month"] [--json] […]`: `modal billing report`, of this endpoint alone. */
import process from 'node:process';

import { appCosts, billingArguments, costTable } from './app-costs.ts';
import { runProgram } from './command-line.ts';
import { askModal } from './modal-command.ts';
import { readOperation } from './operation.ts';

await runProgram(async () => {
  const { app, description, variables, rest } = readOperation(process.argv.slice(2));
  const { json, report } = billingArguments(rest);
  const costs = appCosts(app, await askModal(report, variables), variables['MODAL_ENVIRONMENT']);
  if (json) console.log(JSON.stringify(costs));
  else console.log(`Target: ${description}\n${costTable(costs)}`);
});
