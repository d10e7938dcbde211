/** `nx validate <endpoint>`: endpoint.json, its workflow and the files they name, checked against each other. */
import path from 'node:path';
import process from 'node:process';

import { loadEndpoint, unpinnedModelsNote } from '@ryla/workflow/node';

import { endpointDirectory, runProgram } from './command-line.ts';

await runProgram(() => {
  const directory = endpointDirectory(process.argv.slice(2));
  const name = path.basename(directory);
  try {
    const endpoint = loadEndpoint(directory);
    const { config, workflow } = endpoint;
    const counts = [
      `${Object.keys(workflow).length} nodes`,
      `${Object.keys(config.inputs).length} inputs`,
      `${Object.keys(config.outputs).length} outputs`,
      `${config.models.length} models`,
    ];
    console.log(`${name}: valid (${counts.join(', ')})`);
    for (const line of unpinnedModelsNote(endpoint)) console.log(line);
  } catch (cause) {
    throw new Error(
      `Endpoint ${name} is not valid. Mend the file that is named and run \`npx nx validate ${name}\` again.`,
      {
        cause: withoutCause(cause),
      },
    );
  }
});

/** The message already lists every problem; what lies below is the validator's own. */
function withoutCause(error: unknown): Error {
  return new Error(error instanceof Error ? error.message : String(error));
}
