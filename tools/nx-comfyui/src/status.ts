/** `nx run <endpoint>:status [--provider modal|runpod] [--json]`: what is live, on both clouds unless one is named. */
import process from 'node:process';

import { messageOf, runProgram } from './command-line.ts';
import { type EndpointStatus, modalStatus, statusLines } from './deployment-status.ts';
import { askModal } from './modal-command.ts';
import { configOf, onModal, type Operation, readOperation } from './operation.ts';
import { runpodAccount } from './runpod-account.ts';
import { type RunPodStatus, runpodStatus } from './runpod-status.ts';

const HELP = `npx nx run <endpoint>:status [options]

What is live of the endpoint, read back from the clouds: version, fingerprint, commit, containers or workers, recent errors;
on RunPod the queue too.

  --provider modal|runpod   one cloud alone
  --environment NAME        Modal's environment, or RunPod's marker; the default one without it
  --target local|cloud      the local clouds (default), or the real ones
  --json                    one JSON line`;

await runProgram(async () => {
  const args = process.argv.slice(2);
  if (args.includes('--help')) {
    console.log(HELP);
    return;
  }
  const operation = readOperation(args);
  const { provider, rest } = operation;
  const unknown = rest.find((arg) => arg !== '--json');
  if (unknown !== undefined)
    throw new Error(`status takes --json, --provider, --environment and --target, not ${unknown}.`);
  const status = provider === 'runpod' ? await onRunPodAlone(operation) : await onBoth(operation);
  if (rest.includes('--json')) console.log(JSON.stringify(status));
  else for (const line of statusLines(status)) console.log(line);
  if (provider === 'runpod' && typeof status.runpod === 'string') process.exitCode = 1;
});

async function onRunPodAlone(operation: Operation): Promise<EndpointStatus> {
  const { description } = runpodAccount(operation.target, operation.environment, process.env);
  return { endpoint: operation.endpoint, target: description, runpod: await runpodOf(operation) };
}

async function onBoth(operation: Operation): Promise<EndpointStatus> {
  const { app, description, variables } = onModal(operation);
  const [modal, runpod] = await Promise.all([
    modalStatus(app, (args) => askModal(args, variables)),
    operation.provider === 'modal' ? undefined : runpodOf(operation),
  ]);
  return {
    endpoint: operation.endpoint,
    target: description,
    modal,
    ...(runpod === undefined ? {} : { runpod }),
  };
}

async function runpodOf(operation: Operation): Promise<RunPodStatus | string | null> {
  const { target, environment, endpoint, provider } = operation;
  const config = configOf(operation);
  if (provider === undefined && target === 'cloud' && (process.env['RUNPOD_API_KEY'] ?? '') === '')
    return 'not asked: RUNPOD_API_KEY is not set';
  try {
    const account = runpodAccount(target, environment, process.env);
    // A worker that was registered at the local RunPod by hand has the endpoint's name.
    return await runpodStatus(config, account, target === 'local' ? endpoint : undefined);
  } catch (error) {
    return messageOf(error);
  }
}
