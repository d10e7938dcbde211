/** `ryla deploy`. */
import { appendFileSync } from 'node:fs';
import process from 'node:process';

import { EXIT, UsageError } from '../exit-codes.ts';
import type { Output } from '../output.ts';
import type { Workspace } from '../workspace.ts';
import { applyPlan } from './apply.ts';
import type { Selection } from './candidates.ts';
import type { Cloud } from './cloud.ts';
import type { DeployOptions } from './command-options.ts';
import { type DeployEntry, type DeploymentDocument, documentOf, type Scope } from './deployment-document.ts';
import { cloudOf, inEnvironment, PENDING, placeOf, scopeOf } from './deployment-place.ts';
import { documentMarkdown, documentText } from './deployment-report.ts';
import { commit, gitRange } from './git-range.ts';
import type { InspectionProcess } from './inspection-process.ts';
import { makePlan, type Planned } from './plan.ts';
import { unpinnedNotes } from './unpinned-models.ts';

/** Deploys, or with `--plan` says what it would do. */
export function deploy(
  names: readonly string[],
  options: DeployOptions,
  inspection?: InspectionProcess,
): Promise<void> {
  return inEnvironment(options, async (workspace, output) => {
    // Its process starts while git is asked.
    await using cloud = cloudOf(workspace, options);
    const selection = await selectionOf(workspace, names, options);
    const place = placeOf(workspace, options.provider);
    const head = (await commit(workspace.root, 'HEAD')) ?? null;
    const { parallel, smoke } = options;
    const planned = await makePlan({ place, selection, cloud, commit: head, parallel, smoke, inspection });
    const scope = scopeOf(workspace, cloud, head, selection);
    if (workspace.target === 'cloud') for (const line of unpinnedNotes(planned)) output.note(line);
    if (options.plan === true)
      plan(
        documentOf(
          scope,
          planned.map(({ entry }) => entry),
        ),
        output,
        options,
      );
    else await apply(planned, scope, cloud, output, options);
  });
}

function plan(document: DeploymentDocument, output: Output, options: DeployOptions): void {
  report(document, output, options.summary);
  process.exitCode = planExitCode(document, options.detailedExitCode === true);
}

async function apply(
  planned: readonly Planned[],
  scope: Scope,
  cloud: Cloud,
  output: Output,
  options: DeployOptions,
): Promise<void> {
  const stop = interruptible(output);
  const entries = await applyPlan(planned, cloud, {
    allowUndeploy: options.allowUndeploy === true,
    smoke: options.smoke,
    parallel: options.parallel,
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
