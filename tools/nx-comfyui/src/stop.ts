/** `nx run <endpoint>:stop [--yes]`: `modal app stop`, or no workers on RunPod. Nothing is billed afterwards. */
import process from 'node:process';
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';

import { runProgram } from './command-line.ts';
import { runModal } from './modal-command.ts';
import { configOf, onModal, type Operation, readOperation } from './operation.ts';
import { managementOf, runpodAccount } from './runpod-account.ts';
import { requireRunPodEndpoint } from './runpod-endpoint.ts';
import { refuseForeign, stopWorkers } from './runpod-stop.ts';
import { healthOf } from './runpod-status.ts';

const HELP = `npx nx run <endpoint>:stop --provider runpod [options]

Lets the endpoint have no workers on RunPod: nothing runs and nothing is billed. Its id and URL stay. Workers finish the job
that they have; other jobs wait in the queue until the endpoint is deployed again, or their time to live is over.

  --yes, -y             does not ask
  --wait SECONDS        how long to wait for workers to end (120)
  --environment NAME    marker of the environment; main without it
  --target local|cloud  the local RunPod (default), or the real one`;

const USUAL_WAIT_S = 120;

await runProgram(async () => {
  const operation = readOperation(process.argv.slice(2));
  await (operation.provider === 'runpod' ? stopOnRunPod(operation) : stopOnModal(operation));
});

async function stopOnModal(operation: Operation): Promise<void> {
  const { app, endpoint, description, variables, rest } = onModal(operation);
  console.log(`Target: ${description}`);
  process.exitCode = await runModal(['app', 'stop', app, ...rest], variables);
  if (process.exitCode === 0 && !rest.includes('--help')) {
    console.log(
      `Stopped ${app}. Volumes and secrets are still there; \`npx nx deploy ${endpoint}\` starts it again.`,
    );
  }
}

async function stopOnRunPod(operation: Operation): Promise<void> {
  const { endpoint, rest } = operation;
  if (rest.includes('--help')) {
    console.log(HELP);
    return;
  }
  const { yes, waitMs } = readOptions(rest);
  const config = configOf(operation);
  const account = runpodAccount(operation.target, operation.environment, process.env);
  console.log(`Target: ${account.description}`);
  await using client = managementOf(account);
  const found = await requireRunPodEndpoint(client, config, account);
  refuseForeign(found);
  const jobs = (await healthOf(found.live.id, account))?.jobs ?? {};
  const waiting = `${String(jobs['inProgress'] ?? 0)} jobs run, ${String(jobs['inQueue'] ?? 0)} wait`;
  if (!yes && !(await isSure(`${found.live.name} (${found.live.id}; ${waiting})`))) {
    console.log('Nothing was changed.');
    process.exitCode = 1;
    return;
  }
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => stop.abort(new Error('Not waited for: workers end when they have finished.')));
  const { left } = await stopWorkers(client, found, {
    patienceMs: waitMs,
    signal: stop.signal,
    onProgress: (count) => {
      if (count > 0) console.log(`${String(count)} worker${count === 1 ? '' : 's'} still to end…`);
    },
  });
  if (left.length > 0)
    console.log(
      `Still busy with a job: ${left.join(', ')}. They end when they have finished; none is started.`,
    );
  console.log(
    `Stopped ${found.live.name}: it may have no workers. Its URL still takes jobs, which wait; ` +
      `\`npx nx deploy ${endpoint} --provider runpod\` gives it workers again.`,
  );
}

function readOptions(args: readonly string[]): { readonly yes: boolean; readonly waitMs: number } {
  const { values } = parseArgs({
    args: [...args],
    options: { yes: { type: 'boolean', short: 'y', default: false }, wait: { type: 'string' } },
  });
  const seconds = Number(values.wait ?? USUAL_WAIT_S);
  if (!(seconds >= 0)) throw new Error('--wait is a number of seconds.');
  return { yes: values.yes, waitMs: seconds * 1_000 };
}

/** Asks a person, as `modal app stop` does. */
async function isSure(what: string): Promise<boolean> {
  if (!process.stdin.isTTY)
    throw new Error(`Nobody can be asked whether to stop ${what}: give --yes to stop it without a question.`);
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await terminal.question(`Are you sure you want to stop ${what}? [y/N] `);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}
