import process from 'node:process';

import { Argument, type Command } from 'commander';

/** Shells that a script can be written for. */
const SHELLS = ['bash', 'zsh', 'fish'] as const;

/** A place on the command line: the words that lead to it and those that may follow. */
interface Place {
  readonly path: readonly string[];
  readonly words: readonly string[];
}

/** Adds `ryla completion`. */
export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('a script that completes commands and options in a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .action((shell: (typeof SHELLS)[number]) => {
      process.stdout.write(completionScript(program, shell));
    });
}

/** The script for a shell, made from the commands themselves. */
export function completionScript(program: Command, shell: (typeof SHELLS)[number]): string {
  const places = placesBelow(program, []);
  if (shell === 'fish') return fish(places);
  const cases = places.map(({ path, words }) => `    '${path.join(' ')}') words='${words.join(' ')}' ;;`);
  const script = [
    '_ryla() {',
    "  local words='' place='' word",
    // Options and their values do not lead further down.
    '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
    `    case "$place $word" in`,
    ...places
      .filter(({ path }) => path.length > 0)
      .map(
        ({ path }) =>
          `      '${[path.slice(0, -1).join(' '), path.at(-1)].join(' ')}') place='${path.join(' ')}' ;;`,
      ),
    '    esac',
    '  done',
    '  case "$place" in',
    ...cases,
    '  esac',
    '  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
    '}',
    'complete -o default -F _ryla ryla',
    '',
  ].join('\n');
  return shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${script}` : script;
}

function placesBelow(command: Command, path: readonly string[]): Place[] {
  const below = command.commands.map((each) => each.name());
  const options = command.options.flatMap(({ long }) => (long === undefined ? [] : [long]));
  const choices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
  return [
    { path, words: [...below, ...choices, ...options, '--help'] },
    ...command.commands.flatMap((each) => placesBelow(each, [...path, each.name()])),
  ];
}

function fish(places: readonly Place[]): string {
  const lines = places.map(({ path, words }) => {
    const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`);
    const condition = seen.length === 0 ? '__fish_use_subcommand' : seen.join('; and ');
    return `complete -c ryla -n '${condition}' -a '${words.join(' ')}'`;
  });
  return `${lines.join('\n')}\n`;
}
