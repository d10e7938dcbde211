/** `nx run <endpoint>:models [--check] […]`: `modal run upload_models.py`, which knows the options. */
import process from 'node:process';

import { runProgram } from './command-line.ts';
import { runModal } from './modal-command.ts';
import { onlyOnModal, readOperation } from './operation.ts';

await runProgram(async () => {
  const { endpoint, description, variables, rest } = onlyOnModal(
    readOperation(process.argv.slice(2)),
    'models',
  );
  console.log(`Target: ${description}\nEndpoint: ${endpoint}`);
  const env = { ...variables, RYLA_ENDPOINT: endpoint };
  process.exitCode = await runModal(['run', 'upload_models.py', ...rest], env);
});
