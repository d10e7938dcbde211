/** `npm run clouds`: the local clouds alone, with the environment that points tools at them. */
import path from 'node:path';
import process from 'node:process';

import { LocalClouds } from './clouds.ts';
import { howToUse } from './clouds-help.ts';
import { isSupportedNode, unsupportedNodeMessage } from './node-version.ts';
import { setUpPython } from './python-environment.ts';
import { abortOnSignals, Interrupted } from './shutdown.ts';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const args = process.argv.slice(2);

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
    args,
  });
  console.log(
    `${await howToUse(clouds, workspaceRoot)}\n\nThe local clouds are running. Press Ctrl-C to stop them.`,
  );
  await Promise.race([
    clouds.ended(),
    new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true })),
  ]);
}

if (args.includes('--help') || args.includes('-h')) {
  console.log(
    'Usage: npm run clouds -- [options of local-clouds]\n\n' +
      'Starts the local Modal and the local RunPod and prints the environment that points tools at them;\n' +
      'it is also written to .local-clouds/environment.json. Volumes are kept in .local-clouds. Ctrl-C stops.\n\n' +
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
