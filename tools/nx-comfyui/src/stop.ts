/** `nx run <endpoint>:stop [--yes]`: `modal app stop`. Nothing is billed afterwards, and no URL answers. */
import process from 'node:process';

import { runProgram } from './command-line.ts';
import { runModal } from './modal-command.ts';
import { readOperation } from './operation.ts';

await runProgram(async () => {
  const { app, endpoint, description, variables, rest } = readOperation(process.argv.slice(2));
  console.log(`Target: ${description}`);
  process.exitCode = await runModal(['app', 'stop', app, ...rest], variables);
  if (process.exitCode === 0 && !rest.includes('--help')) {
    console.log(
      `Stopped ${app}. Volumes and secrets are still there; \`npx nx deploy ${endpoint}\` starts it again.`,
    );
  }
});
