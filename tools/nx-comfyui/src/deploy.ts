/** `nx deploy <endpoint> […]`: `ryla deploy <endpoint> […]`, which owns what a deploy does. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';

import { endpointDirectory, runProgram, WORKSPACE_ROOT } from './command-line.ts';

await runProgram(async () => {
  const [folder, ...options] = process.argv.slice(2);
  const endpoint = path.basename(endpointDirectory(folder === undefined ? [] : [folder]));
  const ryla = path.join(WORKSPACE_ROOT, 'apps/cli/src/main.ts');
  const child = spawn(process.execPath, ['--conditions=@ryla/source', ryla, 'deploy', endpoint, ...options], {
    cwd: WORKSPACE_ROOT,
    stdio: 'inherit',
  });
  // The terminal's Ctrl-C reaches the child by itself.
  process.on('SIGINT', () => undefined).on('SIGTERM', () => child.kill('SIGTERM'));
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
});
