/** The program `ryla`. */
import process from 'node:process';

import { CommanderError } from 'commander';

import { EXIT } from './exit-codes.ts';
import { errorDocument, errorText } from './output.ts';
import { createProgram } from './program.ts';

const json = process.argv.includes('--json');
const program = createProgram();
for (const command of [program, ...program.commands, ...program.commands.flatMap((each) => each.commands)])
  command.exitOverride();
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Help and version are no errors; commander has said what it had to say.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } else {
    process.stderr.write(`${json ? JSON.stringify({ error: errorDocument(error) }) : errorText(error)}\n`);
    process.exitCode = EXIT.failed;
  }
}
process.exit();
