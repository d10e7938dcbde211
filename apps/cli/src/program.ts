import { Command } from 'commander';

import { addDoctor } from './commands/doctor.ts';
import { addJobCommands } from './commands/job-commands.ts';
import { addWorkflowCommands } from './commands/workflow-commands.ts';

/** The command line. */
export function createProgram(): Command {
  const program = new Command('ryla')
    .description('ComfyUI jobs on Modal and RunPod.')
    .version('0.1.0')
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
  ryla workflows convert workflow.json > workflow.api.json
  ryla doctor --target cloud

Commands act on the local clouds (npm run clouds) unless --target cloud is given, and say so on stderr.
Exit codes: 0 done, 1 a job or the command failed, 2 wrong command line, 130 interrupted.`,
    );
  addJobCommands(program);
  addDoctor(program);
  addWorkflowCommands(program);
  return program;
}
