/** `ryla deploy`, `drift`, `undeploy`, `rollback`. */
import { appendFileSync, writeFileSync } from 'node:fs';
import process from 'node:process';
import { createInterface } from 'node:readline/promises';

import {
  describeTarget,
  endpointsFolder,
  type Provider,
  PROVIDERS,
  type ResolvedConfig,
} from '@ryla/business/config';
import { type Command, Option } from 'commander';

import { applyPlan } from '../deployment/apply.ts';
import type { EndpointFolder, Selection } from '../deployment/candidates.ts';
import type { Cloud } from '../deployment/cloud.ts';
import {
  type DeployEntry,
  type DeploymentDocument,
  documentOf,
  type Scope,
} from '../deployment/deployment-document.ts';
import { documentMarkdown, documentText, driftMarkdown, driftText } from '../deployment/deployment-report.ts';
import { commit, gitRange } from '../deployment/git-range.ts';
import { createModalCloud } from '../deployment/modal-cloud.ts';
import { makePlan } from '../deployment/plan.ts';
import { createRunPodCloud } from '../deployment/runpod-cloud.ts';
import { readImages } from '../deployment/runpod-images.ts';
import { EXIT, UsageError } from '../exit-codes.ts';
import { wholeNumber } from '../option-values.ts';
import { createOutput, type Output } from '../output.ts';
import { findWorkspace, type Workspace } from '../workspace.ts';
import { common, type CommonOptions } from './job-commands.ts';

/** Exit code of changes that are pending, or of drift. */
const PENDING = 3;

/** Endpoints that are looked at or deployed at once. */
const PARALLEL = 4;

interface CloudOptions extends CommonOptions {
  readonly provider: Provider;
  readonly environment?: string;
}

interface DeployOptions extends CloudOptions {
  readonly affected?: boolean;
  readonly all?: boolean;
  readonly base?: string;
  readonly head?: string;
  readonly plan?: boolean;
  readonly detailedExitCode?: boolean;
  readonly allowUndeploy?: boolean;
  readonly smoke: boolean;
  readonly summary?: string;
  readonly parallel: number;
  readonly image: readonly string[];
  readonly images?: string;
}

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
    .action((names: string[], options: DeployOptions) =>
      inEnvironment(options, (workspace, output) => deploy(workspace, output, names, options)),
    );
  withCloud(
    program
      .command('drift')
      .description('Compare what is live with what is checked out; exit 3 where it differs.'),
  )
    .option('--summary <file>', 'append a table in Markdown')
    .option('--issue-body <file>', 'write the text of an issue; nothing when all is equal')
    .option('--parallel <n>', 'endpoints at once', wholeNumber, PARALLEL)
    .action((options: DriftOptions) =>
      inEnvironment(options, (workspace, output) => drift(workspace, output, options)),
    );
  withCloud(
    program.command('undeploy').description('Remove what is live of endpoints.').argument('<endpoint...>'),
  )
    .option(
      '--confirm <endpoint>',
      'its name once more, in place of the question; repeat for several',
      collect,
      [],
    )
    .action((names: string[], options: UndeployOptions) =>
      inEnvironment(options, (workspace, output) => undeploy(workspace, output, names, options)),
    );
  withCloud(
    program.command('rollback').description('Make an earlier version live again.').argument('<endpoint>'),
  )
    .option(
      '--to <version>',
      'Modal: such as v3, as `modal app history` lists them; the one before without it',
    )
    .action((name: string, options: RollbackOptions) =>
      inEnvironment(options, (workspace, output) => rollback(workspace, output, name, options)),
    );
}

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

async function deploy(
  workspace: Workspace,
  output: Output,
  names: readonly string[],
  options: DeployOptions,
): Promise<void> {
  const selection = await selectionOf(workspace, names, options);
  await using cloud = cloudOf(workspace, options);
  const place = placeOf(workspace, options.provider);
  const head = (await commit(workspace.root, 'HEAD')) ?? null;
  const { parallel } = options;
  const planned = await makePlan({ place, selection, cloud, commit: head, parallel });
  const scope = scopeOf(workspace, cloud, head, selection);
  if (options.plan === true) {
    const document = documentOf(
      scope,
      planned.map(({ entry }) => entry),
    );
    report(document, output, options.summary);
    process.exitCode = planExitCode(document, options.detailedExitCode === true);
    return;
  }
  const stop = interruptible(output);
  const entries = await applyPlan(planned, cloud, {
    allowUndeploy: options.allowUndeploy === true,
    smoke: options.smoke,
    parallel,
    signal: stop,
    onStep: (endpoint, text) => output.note(`${endpoint}: ${text}`),
  });
  report(documentOf(scope, entries), output, options.summary);
  process.exitCode = stop.aborted ? EXIT.interrupted : deployExitCode(entries);
}

function planExitCode({ endpoints }: DeploymentDocument, detailed: boolean): number {
  if (endpoints.some(({ action }) => action === 'unknown')) return EXIT.failed;
  return detailed && endpoints.some(({ action }) => action !== 'unchanged') ? PENDING : EXIT.ok;
}

/** What the repository does not have any more is only removed on purpose: leaving it is no failure. */
function deployExitCode(entries: readonly DeployEntry[]): number {
  const bad = entries.some(
    ({ result, action }) =>
      result === 'failed' || result === 'rolled_back' || (result === 'refused' && action !== 'undeploy'),
  );
  return bad ? EXIT.failed : EXIT.ok;
}

async function selectionOf(
  { root }: Workspace,
  names: readonly string[],
  { affected, all, base, head }: DeployOptions,
): Promise<Selection> {
  const chosen = [names.length > 0, affected === true, all === true].filter(Boolean).length;
  if (chosen !== 1)
    throw new UsageError(
      'Choose one: names of endpoints, --affected (those that changes affect) or --all. --plan shows what would happen.',
    );
  if (affected !== true && (base ?? head) !== undefined)
    throw new UsageError('--base and --head belong to --affected.');
  if (names.length > 0) return { kind: 'named', names };
  if (all === true) return { kind: 'all' };
  return { kind: 'affected', range: await gitRange(root, { base, head }, process.env) };
}

interface DriftOptions extends CloudOptions {
  readonly summary?: string;
  readonly issueBody?: string;
  readonly parallel: number;
}

async function drift(workspace: Workspace, output: Output, options: DriftOptions): Promise<void> {
  await using cloud = cloudOf(workspace, { ...options, smoke: false });
  const place = placeOf(workspace, options.provider);
  const head = (await commit(workspace.root, 'HEAD')) ?? null;
  const selection = { kind: 'all' } as const;
  const planned = await makePlan({ place, selection, cloud, commit: head, parallel: options.parallel });
  const document = documentOf(
    scopeOf(workspace, cloud, head, selection),
    planned.map(({ entry }) => entry),
  );
  const isEqual = document.endpoints.every(({ action }) => action === 'unchanged');
  output.result(document, driftText(document));
  if (options.summary !== undefined) appendFileSync(options.summary, `${driftMarkdown(document)}\n`);
  if (options.issueBody !== undefined && !isEqual) writeFileSync(options.issueBody, driftMarkdown(document));
  const failed = document.endpoints.some(({ action }) => action === 'unknown');
  process.exitCode = failed ? EXIT.failed : isEqual ? EXIT.ok : PENDING;
}

interface UndeployOptions extends CloudOptions {
  readonly confirm: readonly string[];
}

async function undeploy(
  workspace: Workspace,
  output: Output,
  names: readonly string[],
  options: UndeployOptions,
): Promise<void> {
  await using cloud = cloudOf(workspace, { ...options, smoke: false });
  const stranger = options.confirm.find((name) => !names.includes(name));
  if (stranger !== undefined) throw new UsageError(`--confirm ${stranger} is none of ${names.join(', ')}.`);
  const removed: string[] = [];
  for (const name of names) {
    if ((await cloud.live(name)) === null) {
      output.note(`${name} is not deployed on ${cloud.provider} (${cloud.environment}).`);
      continue;
    }
    if (!options.confirm.includes(name)) await confirm(name, cloud);
    await cloud.remove(name, {});
    removed.push(name);
  }
  output.result(
    { environment: cloud.environment, provider: cloud.provider, undeployed: removed },
    removed.length === 0 ? 'Nothing was live.' : `Undeployed: ${removed.join(', ')}`,
  );
}

async function confirm(name: string, cloud: Cloud): Promise<void> {
  if (!process.stdin.isTTY)
    throw new UsageError(`Without a terminal to ask on, repeat the name: --confirm ${name}`, 'not_confirmed');
  const question = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await question.question(
      `This ends ${name} on ${cloud.provider} (${cloud.environment}) and all of its jobs. Its name, to confirm: `,
    );
    if (answer.trim() !== name)
      throw new UsageError(`"${answer}" is not ${name}: nothing was done.`, 'not_confirmed');
  } finally {
    question.close();
  }
}

interface RollbackOptions extends CloudOptions {
  readonly to?: string;
}

async function rollback(
  workspace: Workspace,
  output: Output,
  name: string,
  options: RollbackOptions,
): Promise<void> {
  await using cloud = cloudOf(workspace, { ...options, smoke: false });
  if (options.to !== undefined && !/^v[1-9]\d*$/.test(options.to))
    throw new UsageError(`--to is a version such as v3, not "${options.to}".`);
  const before = await cloud.live(name);
  const live = await cloud.rollBack(name, options.to, {});
  output.result(
    { endpoint: name, provider: cloud.provider, environment: cloud.environment, before, live },
    `${name}: ${live.version ?? 'unknown'} is live, with the fingerprint ${live.fingerprint ?? 'unknown'}` +
      `${live.commit === null ? '' : ` of commit ${live.commit}`}.\n` +
      `\`ryla drift\` shows the difference from the repository until the next deploy of ${name}.`,
  );
}

/** Runs a command's body; says on stderr where it acts. */
async function inEnvironment(
  options: CloudOptions,
  body: (workspace: Workspace, output: Output) => Promise<void>,
): Promise<void> {
  const output = createOutput(options.json === true);
  const workspace = await findWorkspace(options.target);
  const environment = options.environment === undefined ? '' : `, environment ${options.environment}`;
  output.note(`Target: ${describeTarget(reached(workspace))}, ${options.provider}${environment}`);
  await body(workspace, output);
}

/** The workspace with the local clouds that it uses; tests, and the targets of Nx, may have them elsewhere. */
function reached(workspace: Workspace): ResolvedConfig {
  return { ...workspace, root: process.env['RYLA_LOCAL_CLOUDS_ROOT'] ?? workspace.root };
}

function placeOf(workspace: Workspace, provider: Provider): EndpointFolder {
  return { root: workspace.root, folder: endpointsFolder(workspace), provider };
}

function cloudOf(
  workspace: Workspace,
  options: CloudOptions & { readonly smoke: boolean } & Partial<Pick<DeployOptions, 'image' | 'images'>>,
): Cloud {
  const { provider, environment, smoke, image = [], images } = options;
  const resolved = reached(workspace);
  if (provider === 'runpod')
    return createRunPodCloud({ resolved, environment, images: readImages(image, images) });
  if (image.length > 0 || images !== undefined)
    throw new UsageError('--image and --images belong to --provider runpod: Modal builds its images itself.');
  return createModalCloud({ resolved, workspaceRoot: workspace.root, environment, smoke });
}

function scopeOf(workspace: Workspace, cloud: Cloud, head: string | null, selection: Selection): Scope {
  const base = selection.kind === 'affected' ? selection.range.base : null;
  return { target: workspace.target, environment: cloud.environment, base, head };
}

function report(document: DeploymentDocument, output: Output, summary: string | undefined): void {
  output.result(document, documentText(document));
  if (summary !== undefined) appendFileSync(summary, `${documentMarkdown(document)}\n`);
}

/** A second Ctrl-C does not wait for what was begun. */
function interruptible(output: Output): AbortSignal {
  const stop = new AbortController();
  const interrupt = (): void => {
    if (stop.signal.aborted) process.exit(EXIT.interrupted);
    output.note('Going back from what is not tried yet; press Ctrl-C again to leave it as it is.');
    stop.abort();
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  return stop.signal;
}

function withCloud(command: Command): Command {
  return common(command)
    .addOption(new Option('--provider <provider>', 'the cloud').choices(PROVIDERS).default('modal'))
    .option('--environment <name>', "Modal's environment, or RunPod's marker; the default one without it");
}

function collect(text: string, before: readonly string[]): readonly string[] {
  return [...before, text];
}
