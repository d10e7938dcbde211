/** `nx run <endpoint>:costs [--for "this month"] [--json] […]`: the cloud's bill, of this endpoint alone. */
import process from 'node:process';

import { appCosts, billingArguments, costTable } from './app-costs.ts';
import { runProgram } from './command-line.ts';
import { askModal } from './modal-command.ts';
import { configOf, onModal, type Operation, readOperation } from './operation.ts';
import { managementOf, runpodAccount } from './runpod-account.ts';
import { readCostsOptions, runpodCosts, runpodCostTable } from './runpod-costs.ts';
import { requireRunPodEndpoint } from './runpod-endpoint.ts';

const HELP = `npx nx run <endpoint>:costs --provider runpod [options]

What RunPod billed for the endpoint, day by day, and what a worker costs while it runs: by the dated price table that jobs are
counted with, else by RunPod's catalogue. Network volumes are billed apart and belong to no endpoint.

  --for SPAN            today, yesterday, "this week", "last week", "this month" (default), "last month"; in UTC
  --start, --end DATE   such as 2026-11-01, in place of --for; the end is not part of it
  --show-resources      GPU, CPU, disk and fee
  --json                one JSON line
  --environment NAME    marker of the environment; main without it
  --target local|cloud  the local RunPod (default), or the real one`;

await runProgram(async () => {
  const operation = readOperation(process.argv.slice(2));
  await (operation.provider === 'runpod' ? costsOnRunPod(operation) : costsOnModal(operation));
});

async function costsOnModal(operation: Operation): Promise<void> {
  const { app, description, variables, rest } = onModal(operation);
  const { json, report } = billingArguments(rest);
  const costs = appCosts(app, await askModal(report, variables), variables['MODAL_ENVIRONMENT']);
  if (json) console.log(JSON.stringify(costs));
  else console.log(`Target: ${description}\n${costTable(costs)}`);
}

async function costsOnRunPod(operation: Operation): Promise<void> {
  if (operation.rest.includes('--help')) {
    console.log(HELP);
    return;
  }
  const options = readCostsOptions(operation.rest);
  const account = runpodAccount(operation.target, operation.environment, process.env);
  await using client = managementOf(account);
  const { live } = await requireRunPodEndpoint(client, configOf(operation), account);
  const costs = await runpodCosts(client, live, options.span);
  if (options.json) console.log(JSON.stringify(costs));
  else console.log(`Target: ${account.description}\n${runpodCostTable(costs, options)}`);
}
