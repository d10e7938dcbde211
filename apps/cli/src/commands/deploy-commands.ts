/** `ryla deploy`, `drift`, `undeploy`, `rollback`. What they do is loaded when one runs. */
import process from 'node:process';

import type { Provider } from '@ryla/business/config';
import { type Command, Option } from 'commander';

import type {
  AdoptOptions,
  DeployOptions,
  DriftOptions,
  RollbackOptions,
  UndeployOptions,
} from '../deployment/command-options.ts';
import { type InspectionProcess, startInspection } from '../deployment/inspection-process.ts';
import { wholeNumber } from '../option-values.ts';
import { workspaceRootAbove } from '../workspace-root.ts';
import { common } from './common-options.ts';

/** Endpoints that are looked at or deployed at once. */
const PARALLEL = 4;

/** Those of @ryla/business/config, which is not loaded for this. */
const CLOUDS = ['modal', 'runpod'] as const satisfies readonly Provider[];

/** Adds the commands that change or compare what is live. */
export function addDeployCommands(program: Command): void {
  withCloud(
    program
      .command('deploy')
      .description('Deploy what differs from what is live; name endpoints, or choose --affected or --all.')
      .argument('[endpoint...]'),
  )
    .option('--affected', 'the endpoints that changes since --base affect')
    .option(
      '--base <commit>',
      'commit of the last successful deploy; NX_BASE without it; "none" for the first',
    )
    .option('--head <commit>', 'what is checked out; HEAD and changes in no commit without it')
    .option('--all', 'every endpoint')
    .option('--plan', 'say what would change and why, and change nothing')
    .option('--detailed-exit-code', 'with --plan: exit 3 when something would change')
    .option('--allow-undeploy', 'remove what is live and not in the repository any more')
    .option('--no-smoke', "deploy without trying it with the endpoint's small job")
    .option('--image <endpoint=reference>', 'RunPod: image by digest; repeat for several', collect, [])
    .option('--images <file>', 'RunPod: JSON file with the images by endpoint')
    .option('--summary <file>', 'append a table in Markdown, such as to $GITHUB_STEP_SUMMARY')
    .option('--parallel <n>', 'endpoints at once', wholeNumber, PARALLEL)
    .addHelpText('after', DEPLOY_HELP)
    .action(async (names: string[], options: DeployOptions) => {
      // Nx takes longest: it begins before what this command needs is loaded.
      using inspection = startHere();
      await (await import('../deployment/deploy-command.ts')).deploy(names, options, inspection);
    });
  withCloud(
    program
      .command('drift')
      .description('Compare what is live with what is checked out; exit 3 where it differs.'),
  )
    .option('--summary <file>', 'append a table in Markdown')
    .option('--issue-body <file>', 'write the text of an issue; nothing when all is equal')
    .option('--parallel <n>', 'endpoints at once', wholeNumber, PARALLEL)
    .action(async (options: DriftOptions) => {
      using inspection = startHere();
      await (await import('../deployment/drift-command.ts')).drift(options, inspection);
    });
  withCloud(
    program.command('undeploy').description('Remove what is live of endpoints.').argument('<endpoint...>'),
  )
    .option(
      '--confirm <endpoint>',
      'its name once more, in place of the question; repeat for several',
      collect,
      [],
    )
    .action(async (names: string[], options: UndeployOptions) => {
      await (await import('../deployment/undeploy-command.ts')).undeploy(names, options);
    });
  withCloud(
    program.command('rollback').description('Make an earlier version live again.').argument('<endpoint>'),
  )
    .option(
      '--to <version>',
      'Modal: such as v3, as `modal app history` lists them; RunPod: before-adoption; the one before without it',
    )
    .action(async (name: string, options: RollbackOptions) => {
      await (await import('../deployment/rollback-command.ts')).rollback(name, options);
    });
  common(
    program
      .command('adopt')
      .description(
        'Take over a RunPod endpoint that ryla did not make: changes its marker, and nothing else.',
      )
      .argument('<endpoint>'),
  )
    .option('--environment <name>', "RunPod's marker; the default one without it")
    .option('--plan', 'show what differs, and change nothing; exit 3 where it is not managed yet')
    .option('--confirm <endpoint>', 'its name once more, in place of the question')
    .addHelpText('after', ADOPT_HELP)
    .action(async (name: string, options: AdoptOptions) => {
      await (await import('../deployment/adopt-command.ts')).adopt(name, options);
    });
}

const ADOPT_HELP = `
It is the one that providers.runpod.endpointId in endpoint.json names, or of the name that a deploy would give. Its settings,
image, variables, id and URL stay; what a deploy would change is shown. What it was is kept in a file below .ryla, with the
values of its variables.

Examples:
  ryla adopt flux-schnell --plan
  ryla adopt flux-schnell
  ryla drift --provider runpod
  ryla deploy flux-schnell --provider runpod --image flux-schnell=live      settings of endpoint.json, the same image
  ryla rollback flux-schnell --provider runpod --to before-adoption         everything as it was, managed by nobody`;

const DEPLOY_HELP = `
What is live is read back and compared by fingerprint: the hash of all that a deployment is made of. Equal ones are left
alone. A deployment is tried with the endpoint's small job ("smoke" in endpoint.json); when it fails, what was live before
comes back.

Examples:
  ryla deploy photo-finish
  ryla deploy --all --plan
  ryla deploy --affected --base origin/main~5 --plan --json
  ryla deploy --affected --target cloud --environment prod --summary "$GITHUB_STEP_SUMMARY"
  ryla deploy photo-finish --provider runpod --image photo-finish=registry/ryla-runpod@sha256:…

Exit codes: 0 all good, 1 an endpoint failed, 2 wrong command line or unknown base, 3 changes pending
(--plan --detailed-exit-code), 130 interrupted. docs/ci.md says more.`;

/** Starts asking Nx; undefined outside a workspace, which the command then says. */
function startHere(): InspectionProcess | undefined {
  const root = workspaceRootAbove(process.cwd());
  return root === undefined ? undefined : startInspection(root);
}

function withCloud(command: Command): Command {
  return common(command)
    .addOption(new Option('--provider <provider>', 'the cloud').choices(CLOUDS).default('modal'))
    .option('--environment <name>', "Modal's environment, or RunPod's marker; the default one without it");
}

function collect(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}
