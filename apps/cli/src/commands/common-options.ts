import type { Target } from '@ryla/business/config';
import { type Command, Option } from 'commander';

/** Options that every command has. */
export interface CommonOptions {
  readonly target: Target;
  readonly json?: boolean;
}

/** Adds the options that every command has. */
export function common(command: Command): Command {
  return command
    .addOption(new Option('--target <target>', 'where to act').choices(['local', 'cloud']).default('local'))
    .option('--json', 'one JSON document on stdout and nothing else');
}
