/** The program `ryla`. */
import process from 'node:process';

import { CommanderError } from 'commander';

import { EXIT, UsageError } from './exit-codes.ts';
import { allCommands, createProgram } from './program.ts';

const json = process.argv.includes('--json');
const program = await createProgram(process.argv[2]);
for (const command of allCommands(program)) {
  command.exitOverride();
  // With --json, what commander has to say of a mistake is part of the document below.
  if (json) command.configureOutput({ outputError: () => undefined, writeErr: () => undefined });
}
try {
  await program.parseAsync();
} catch (error) {
  // Help and version are no errors; commander has said what it had to say, as it has of mistakes without --json.
  const isSaid = error instanceof CommanderError && (error.exitCode === 0 || !json);
  if (!isSaid) {
    const { errorDocument, errorText } = await import('./output.ts');
    const shown =
      error instanceof CommanderError
        ? new UsageError(error.message.replace(/^error: /, ''), 'usage', { cause: error })
        : error;
    process.stderr.write(`${json ? JSON.stringify({ error: errorDocument(shown) }) : errorText(shown)}\n`);
  }
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  else process.exitCode = error instanceof UsageError ? EXIT.usage : EXIT.failed;
}
process.exit();
