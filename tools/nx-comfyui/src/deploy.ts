/**
 * `nx deploy <endpoint> [--target local|cloud]`: `modal deploy` of the endpoint's app, tagged with its fingerprint.
 * It always deploys: comparing with what is live, and skipping, is not there yet.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';

import { endpointDirectory, runProgram, WORKSPACE_ROOT } from './command-line.ts';
import { modalEnvironment, parseTarget } from './deployment-target.ts';
import { readFingerprint } from './fingerprint-record.ts';

await runProgram(async () => {
  const { values, positionals } = parseArgs({
    options: { target: { type: 'string', default: 'local' } },
    allowPositionals: true,
  });
  const directory = endpointDirectory(positionals);
  const endpoint = path.basename(directory);
  if (process.env['NX_TASK_TARGET_TARGET'] !== 'deploy') {
    throw new Error(`Deploy with \`npx nx deploy ${endpoint}\`, which computes the fingerprint first.`);
  }
  const { description, variables } = modalEnvironment(
    parseTarget(values.target),
    WORKSPACE_ROOT,
    process.env,
  );
  const { fingerprint } = readFingerprint(directory);
  console.log(`Target: ${description}\nEndpoint: ${endpoint}\nFingerprint: ${fingerprint}`);
  process.exitCode = await modalDeploy(fingerprint, { ...variables, RYLA_ENDPOINT: endpoint });
});

/** Runs `modal deploy` and returns its exit code; a signal for this process is passed on. */
function modalDeploy(
  fingerprint: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  const modal = path.join(WORKSPACE_ROOT, '.venv/bin/modal');
  const child = spawn(modal, ['deploy', 'comfyui_app.py', '--tag', fingerprint], {
    cwd: path.join(WORKSPACE_ROOT, 'apps/modal'),
    env,
    stdio: 'inherit',
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
