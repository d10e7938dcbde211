/** What `npm start` does, once the Node that runs it is known to be new enough. */
import path from 'node:path';
import process from 'node:process';

import { ComfyUIServiceError } from '@ryla/business';
import { WorkflowError } from '@ryla/workflow';
import { listEndpoints, loadEndpoint } from '@ryla/workflow/node';

import { CommandFailed } from './child-process.ts';
import { LocalClouds } from './clouds.ts';
import { forgetClouds, howToUse } from './clouds-help.ts';
import { createProgressDisplay } from './progress-display.ts';
import { setUpPython } from './python-environment.ts';
import { renderReport } from './result-table.ts';
import { abortOnSignals, Interrupted } from './shutdown.ts';
import { bringUp, runEverywhere, runpodEndpointId } from './spine.ts';
import { parseStartOptions } from './start-options.ts';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const endpointsFolder = path.join(workspaceRoot, 'apps/endpoints');

/** Runs `npm start`; returns the exit code. */
export async function start(argv: readonly string[]): Promise<number> {
  try {
    return await main(argv);
  } catch (error) {
    if (error instanceof Interrupted) return error.exitCode;
    const expected =
      error instanceof CommandFailed ||
      WorkflowError.isInstance(error) ||
      ComfyUIServiceError.isInstance(error);
    console.error(expected || !(error instanceof Error) ? messageOf(error) : (error.stack ?? error.message));
    return 1;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function main(argv: readonly string[]): Promise<number> {
  const options = parseStartOptions(argv, listEndpoints(endpointsFolder));
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
        runpodEndpointId: runpodEndpointId(endpoint.config),
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
    if (options.keep) await forgetClouds(workspaceRoot);
    await clouds.stop();
  }
}
