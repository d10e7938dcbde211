import { readFileSync } from 'node:fs';

import { Command } from 'commander';

/** Commands that are loaded together: starting one needs nothing of the others. */
interface CommandGroup {
  readonly names: readonly string[];
  add(program: Command, version: string): Promise<void>;
}

/** In the order of `ryla --help`. */
const GROUPS: readonly CommandGroup[] = [
  {
    names: ['run', 'submit', 'status', 'watch', 'cancel', 'jobs', 'costs', 'health'],
    add: async (program) => (await import('./commands/job-commands.ts')).addJobCommands(program),
  },
  {
    names: ['deploy', 'drift', 'undeploy', 'rollback', 'adopt'],
    add: async (program) => (await import('./commands/deploy-commands.ts')).addDeployCommands(program),
  },
  {
    names: ['doctor'],
    add: async (program) => (await import('./commands/doctor.ts')).addDoctor(program),
  },
  {
    names: ['migrate'],
    add: async (program) => (await import('./migrate/migrate-commands.ts')).addMigrateCommands(program),
  },
  {
    names: ['workflows'],
    add: async (program, version) =>
      (await import('./commands/workflow-commands.ts')).addWorkflowCommands(program, version),
  },
  {
    names: ['mcp'],
    add: async (program, version) => (await import('./commands/mcp.ts')).addMcp(program, version),
  },
  {
    names: ['completion'],
    add: async (program) => (await import('./commands/completion.ts')).addCompletion(program),
  },
];

/**
 * The command line.
 *
 * @param first what it begins with: of a command that there is, only what it needs is loaded.
 */
export async function createProgram(first?: string): Promise<Command> {
  const program = emptyProgram();
  const needed = GROUPS.filter(({ names }) => names.includes(first ?? '') && first !== 'completion');
  for (const group of needed.length === 0 ? GROUPS : needed) await group.add(program, version());
  return program;
}

function emptyProgram(): Command {
  return new Command('ryla')
    .description('ComfyUI jobs on Modal and RunPod.')
    .version(version())
    .showHelpAfterError('(add --help for the options)')
    .addHelpText(
      'after',
      `
Examples:
  ryla run photo-finish --input image=me.jpg --input width=1280
  ryla run photo-finish --backend runpod --json
  ryla submit flux-schnell -i prompt="a lighthouse at dusk"
  ryla jobs --status failed --since 2h
  ryla costs --by day --since 7d
  ryla workflows inspect workflow.json         # inputs, models, custom nodes, GPU
  ryla workflows convert workflow.json > workflow.api.json
  ryla migrate status                          # from RunPod to Modal, step by step
  ryla doctor --target cloud
  ryla mcp --max-jobs 20                       # endpoints as tools for an agent: docs/agents.md
  source <(ryla completion bash)

Commands act on the local clouds (npm run clouds) unless --target cloud is given, and say so on stderr.
Exit codes: 0 done, 1 a job or the command failed, 2 wrong command line, 130 interrupted.`,
    );
}

/** A command with all that are below it. */
export function allCommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap((each) => allCommands(each))];
}

/** From the package, which a release changes; it is above the source as it is above what is built. */
function version(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return /"version": "([^"]+)"/.exec(text)?.[1] ?? 'unknown';
}
