/** `npm run clouds`: the local clouds alone, with the environment that points tools at them. */
import path from 'node:path';
import process from 'node:process';

import { listEndpoints, loadEndpoint } from '@ryla/workflow/node';

import { LocalClouds } from './clouds.ts';
import { forgetClouds, howToUse } from './clouds-help.ts';
import { isSupportedNode, unsupportedNodeMessage } from './node-version.ts';
import { setUpPython } from './python-environment.ts';
import { abortOnSignals, Interrupted } from './shutdown.ts';
import { runpodEndpointId } from './spine.ts';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const endpointsFolder = path.join(workspaceRoot, 'apps/endpoints');
const args = process.argv.slice(2);

/** The account that the workspace's endpoints were imported from, as RunPod's API v2 lists it. */
const ACCOUNT = path.join(workspaceRoot, 'libs/migration/fixtures/accounts/02-ryla-v2.json');

async function main(): Promise<void> {
  if (!isSupportedNode(process.versions.node))
    throw new Error(unsupportedNodeMessage(process.versions.node, process.execPath));
  const signal = abortOnSignals(() => console.error('Stopping …'));
  const python = await setUpPython({
    workspaceRoot,
    signal,
    onStep: (step) => console.error(`Setting up: ${step} …`),
  });
  await using clouds = await LocalClouds.start({
    workspaceRoot,
    python,
    signal,
    stateDir: path.join(workspaceRoot, '.local-clouds'),
    args: ['--runpod-account', ACCOUNT, ...args],
  });
  await clouds.createApiSecret();
  await clouds.createVolumeSecret();
  await clouds.fillVolumes();
  for (const name of listEndpoints(endpointsFolder)) {
    const endpoint = loadEndpoint(path.join(endpointsFolder, name));
    await clouds.placeSimulatedModels(endpoint);
    await clouds.registerRunpodWorker(runpodEndpointId(endpoint.config));
  }
  console.log(
    `${await howToUse(clouds, workspaceRoot)}\n\nThe local clouds are running. Press Ctrl-C to stop them.`,
  );
  try {
    await Promise.race([
      clouds.ended(),
      new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true })),
    ]);
  } finally {
    await forgetClouds(workspaceRoot);
  }
}

if (args.includes('--help') || args.includes('-h')) {
  console.log(
    'Usage: npm run clouds -- [options of local-clouds]\n\n' +
      'Starts the local Modal and the local RunPod and prints the environment that points tools at them;\n' +
      'it is also written to .local-clouds/environment.json. Volumes are kept in .local-clouds. Ctrl-C stops.\n' +
      'On the RunPod there is a worker for every endpoint of the workspace, started when a job waits for it;\n' +
      'its account has the endpoints, the templates and the network volume that the workspace was imported from\n' +
      '(another one: --runpod-account FILE). On Modal there are the secrets ryla-secrets and ryla-runpod-s3, and\n' +
      'what you deploy: npx nx deploy photo-finish\n\n' +
      'Options are those of the Python command, such as --modal-fault kill-container: see .venv/bin/local-clouds --help',
  );
} else {
  try {
    await main();
  } catch (error) {
    if (!(error instanceof Interrupted)) console.error(error instanceof Error ? error.message : error);
    process.exitCode = error instanceof Interrupted ? error.exitCode : 1;
  }
}
process.exit();
