/** `nx run <endpoint>:status [--json]`: what is live on Modal, and on RunPod where the endpoint is there too. */
import process from 'node:process';

import { readLocalClouds } from '@ryla/business/local-clouds';

import { messageOf, runProgram, LOCAL_CLOUDS_ROOT } from './command-line.ts';
import {
  type EndpointStatus,
  modalStatus,
  type RunPodStatus,
  runpodStatus,
  statusLines,
} from './deployment-status.ts';
import { askModal } from './modal-command.ts';
import { configOf, type Operation, readOperation } from './operation.ts';

const RUNPOD_API = 'https://api.runpod.ai/v2';

await runProgram(async () => {
  const operation = readOperation(process.argv.slice(2));
  const unknown = operation.rest.find((arg) => arg !== '--json');
  if (unknown !== undefined) throw new Error(`status takes --json and --target, not ${unknown}.`);
  const status: EndpointStatus = {
    endpoint: operation.endpoint,
    target: operation.description,
    modal: await modalStatus(operation.app, (args) => askModal(args, operation.variables)),
    runpod: await runpodOf(operation),
  };
  if (operation.rest.includes('--json')) console.log(JSON.stringify(status));
  else for (const line of statusLines(status)) console.log(line);
});

async function runpodOf(operation: Operation): Promise<RunPodStatus | string | null> {
  const { endpointId } = configOf(operation).providers.runpod;
  try {
    if (operation.target === 'local') {
      return await runpodStatus(endpointId ?? operation.endpoint, readLocalClouds(LOCAL_CLOUDS_ROOT).runpod);
    }
    if (endpointId === undefined) return null;
    const apiKey = process.env['RUNPOD_API_KEY'];
    if (apiKey === undefined || apiKey === '') return `${endpointId}, not asked: RUNPOD_API_KEY is not set`;
    return await runpodStatus(endpointId, { apiUrl: RUNPOD_API, apiKey });
  } catch (error) {
    return messageOf(error);
  }
}
