/** `npm start`: one workflow endpoint through Modal and RunPod on this machine. */
import path from 'node:path';
import process from 'node:process';

import { isSupportedNode, unsupportedNodeMessage } from './node-version.ts';

if (!isSupportedNode(process.versions.node)) {
  console.error(unsupportedNodeMessage(process.versions.node, process.execPath));
  process.exit(1);
}

const { WorkflowError } = await import('@ryla/workflow');
const { listEndpoints, loadEndpoint } = await import('@ryla/workflow/node');
const { ComfyUIServiceError } = await import('@ryla/business');
const { LocalClouds } = await import('./clouds.ts');
const { CommandFailed } = await import('./child-process.ts');
const { howToUse } = await import('./clouds-help.ts');
const { createProgressDisplay } = await import('./progress-display.ts');
const { setUpPython } = await import('./python-environment.ts');
const { renderReport } = await import('./result-table.ts');
const { abortOnSignals, Interrupted } = await import('./shutdown.ts');
const { bringUp, runEverywhere, runpodEndpointId } = await import('./spine.ts');
const { parseStartOptions } = await import('./start-options.ts');

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const endpointsFolder = path.join(workspaceRoot, 'apps/endpoints');

async function main(): Promise<number> {
  const options = parseStartOptions(process.argv.slice(2), listEndpoints(endpointsFolder));
  const display = createProgressDisplay(process.stderr);
  const signal = abortOnSignals(() => display.line('Stopping …'));
  const endpoint = loadEndpoint(path.join(endpointsFolder, options.endpoint));
  const python = await setUpPython({
    workspaceRoot,
    signal,
    onStep: (step) => display.line(`Setting up: ${step} …`),
  });
  const up = display.step('local clouds');
  const clouds = await LocalClouds.start({
    workspaceRoot,
    python,
    signal,
    ...(options.keep ? { stateDir: path.join(workspaceRoot, '.local-clouds') } : {}),
    ...(options.verbose ? { onLog: (line: string) => display.line(line) } : {}),
  });
  try {
    up(
      clouds.isSimulated
        ? 'target: this machine, engine: comfy-sim (model nodes are SIMULATED)'
        : 'target: this machine, engine: your ComfyUI',
    );
    const adapters = await bringUp(clouds, endpoint, options.backends, display);
    const report = await runEverywhere(adapters, endpoint, options, display, signal);
    display.close();
    const succeeded =
      report.results.every((result) => result.status === 'succeeded') && report.pixelsEqual !== false;
    const show = (file: string): string => path.relative(process.cwd(), file) || file;
    if (options.json) console.log(JSON.stringify(report));
    else console.log(`\n${renderReport(report, show)}\n`);
    if (options.keep) {
      const text = await howToUse(clouds, workspaceRoot, {
        endpoint: options.endpoint,
        runpodEndpointId: runpodEndpointId(options.endpoint),
      });
      (options.json ? console.error : console.log)(
        `${text}\nThe local clouds keep running. Press Ctrl-C to stop them.`,
      );
      await Promise.race([
        clouds.ended(),
        new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true })),
      ]);
    }
    return succeeded ? 0 : 1;
  } finally {
    display.close();
    await clouds.stop();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (error instanceof Interrupted) process.exitCode = error.exitCode;
  else {
    const expected =
      error instanceof CommandFailed ||
      WorkflowError.isInstance(error) ||
      ComfyUIServiceError.isInstance(error);
    console.error(
      expected || !(error instanceof Error)
        ? String(error instanceof Error ? error.message : error)
        : (error.stack ?? error.message),
    );
    process.exitCode = 1;
  }
}
process.exit();
