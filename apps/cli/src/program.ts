import { readFileSync } from 'node:fs';

import { Command } from 'commander';

import { addCompletion } from './commands/completion.ts';
import { addDeployCommands } from './commands/deploy-commands.ts';
import { addDoctor } from './commands/doctor.ts';
import { addJobCommands } from './commands/job-commands.ts';
import { addMcp } from './commands/mcp.ts';
import { addWorkflowCommands } from './commands/workflow-commands.ts';

/** The command line. */
export function createProgram(): Command {
  const program = new Command('ryla')
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
  ryla doctor --target cloud
  ryla mcp --max-jobs 20                       # endpoints as tools for an agent: docs/agents.md
  source <(ryla completion bash)

Commands act on the local clouds (npm run clouds) unless --target cloud is given, and say so on stderr.
Exit codes: 0 done, 1 a job or the command failed, 2 wrong command line, 130 interrupted.`,
    );
  addJobCommands(program);
  addDeployCommands(program);
  addDoctor(program);
  addWorkflowCommands(program, version());
  addMcp(program, version());
  addCompletion(program);
  return program;
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
