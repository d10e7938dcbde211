/** `nx run <endpoint>:logs [--follow] [--since 1h] […]`: `modal app logs`, which knows the options. */
import process from 'node:process';

import { runProgram } from './command-line.ts';
import { runModal } from './modal-command.ts';
import { readOperation } from './operation.ts';

await runProgram(async () => {
  const { app, description, variables, rest } = readOperation(process.argv.slice(2));
  if (!rest.includes('--help')) console.error(`Target: ${description}`);
  process.exitCode = await runModal(['app', 'logs', app, ...rest], variables);
});
