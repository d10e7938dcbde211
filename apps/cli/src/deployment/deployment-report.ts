/** A plan, a deploy or a drift for people: on a terminal, in a job summary, in an issue. */
import type { Provider, Target } from '@ryla/business/config';

import { duration, table } from '../output.ts';
import {
  type DeployEntry,
  type DeploymentDocument,
  isDeployed,
  type PlanEntry,
  type Reason,
} from './deployment-document.ts';

/** Reasons that are listed one by one; more are counted. */
const REASONS_SHOWN = 5;

const SIGN: Readonly<Record<PlanEntry['action'], string>> = {
  create: '+',
  update: '~',
  unchanged: '=',
  undeploy: '-',
  adopt: '!',
  unknown: '?',
};

const WORDS: Readonly<Record<PlanEntry['action'], string>> = {
  create: 'to create',
  update: 'to update',
  unchanged: 'unchanged',
  undeploy: 'to undeploy',
  adopt: 'to adopt',
  unknown: 'unknown',
};

/** Actions as a summary counts them; results are their own words. */
const COUNTED: Readonly<Record<string, string>> = WORDS;

const CLOUD = { modal: 'Modal', runpod: 'RunPod' } as const satisfies Record<Provider, string>;

const PLACE = { local: 'local clouds', cloud: 'real account' } as const satisfies Record<Target, string>;

/** A plan or a deploy for a terminal. */
export function documentText(document: DeploymentDocument): string {
  const { endpoints, provider, environment, base, head } = document;
  const range = base === null ? '' : `, ${short(base)}..${short(head)}`;
  const lines = endpoints.flatMap((entry) => entryLines(entry));
  return [`${CLOUD[provider]} ${environment}${range}: ${countText(document)}`, ...lines].join('\n');
}

function entryLines(entry: PlanEntry): string[] {
  const state = isDeployed(entry) ? resultText(entry) : WORDS[entry.action];
  const live = entry.liveVersion === null ? '' : `, live ${shortVersion(entry.liveVersion)}`;
  const lines = [`${SIGN[entry.action]} ${entry.endpoint} (${entry.provider}${live}): ${state}`];
  if (isDeployed(entry) && entry.error !== undefined) lines.push(...indented(entry.error));
  else lines.push(...reasonLines(entry.reasons).flatMap(indented));
  if (isDeployed(entry) && entry.result === 'deployed' && entry.url !== null) lines.push(`    ${entry.url}`);
  return lines;
}

function resultText({ result, version, smoke, ms }: DeployEntry): string {
  if (result !== 'deployed')
    return result === 'unchanged' ? 'unchanged' : `${result.replace('_', ' ')} in ${duration(ms)}`;
  const tried = smoke.status === 'succeeded' ? `, smoke job ${duration(smoke.ms)}` : ', not tried';
  return `deployed ${shortVersion(version)} in ${duration(ms)}${tried}`;
}

function indented(text: string): string[] {
  return text.split('\n').map((line) => `    ${line}`);
}

function reasonLines(reasons: readonly Reason[]): string[] {
  const shown = reasons.slice(0, REASONS_SHOWN).map((reason) => {
    const what = 'file' in reason ? reason.file : reason.input;
    return `${what}: ${reason.why}`;
  });
  const more = reasons.length - shown.length;
  return more > 0 ? [...shown, `and ${more} more`] : shown;
}

function countText({ summary }: DeploymentDocument): string {
  const parts = Object.entries(summary).map(
    ([kind, count]) => `${count} ${COUNTED[kind] ?? kind.replace('_', ' ')}`,
  );
  return parts.join(', ') || 'nothing to do';
}

/** Markdown of a plan or a deploy: a table, what went wrong, what to do. */
export function documentMarkdown(document: DeploymentDocument): string {
  const { endpoints, target, provider, environment } = document;
  const isPlan = !endpoints.some(isDeployed);
  const where = `${CLOUD[provider]}, environment ${environment} (${PLACE[target]})`;
  const title = `### ${isPlan ? 'Deploy plan' : 'Deploy'}: ${where}`;
  const range =
    document.base === null ? '' : ` Commits \`${short(document.base)}..${short(document.head)}\`.`;
  const lead = `${title}\n\n${countText(document)}.${range}\n`;
  if (endpoints.length === 0) return `${lead}\nNo endpoint is affected.\n`;
  return `${lead}\n${entryTable(endpoints, isPlan ? PLAN_HEAD : RESULT_HEAD)}\n${todo(endpoints)}`;
}

const PLAN_HEAD = ['Plan', 'Live before'];
const RESULT_HEAD = ['Result', 'Live before'];
const DRIFT_HEAD = ['Drift', 'Live'];

function entryTable(endpoints: readonly PlanEntry[], [state = '', live = '']: readonly string[]): string {
  const rows = endpoints.map((entry) => [
    `\`${cell(entry.endpoint)}\``,
    entry.provider,
    isDeployed(entry) ? cell(`${MARK[entry.result]} ${resultText(entry)}`) : WORDS[entry.action],
    shortVersion(entry.liveVersion) + (entry.liveCommit === null ? '' : ` (${entry.liveCommit})`),
    reasonLines(entry.reasons).map(cell).join('<br>') || '–',
  ]);
  return markdownTable(['Endpoint', 'Cloud', state, live, 'Why'], rows);
}

const MARK: Readonly<Record<DeployEntry['result'], string>> = {
  deployed: '✅',
  unchanged: '➖',
  rolled_back: '❌',
  failed: '❌',
  undeployed: '🗑️',
  refused: '⚠️',
};

function todo(endpoints: readonly PlanEntry[]): string {
  const failed = endpoints.filter(isDeployed).filter(({ error }) => error !== undefined);
  const errors = failed.map(({ endpoint, error }) => `- \`${cell(endpoint)}\`: ${cell(error ?? '')}`);
  const steps = [
    ...endpoints
      .filter((entry) => entry.action === 'undeploy' && !isRemoved(entry))
      .map(
        ({ endpoint, provider }) =>
          `- \`ryla undeploy ${cell(endpoint)} --provider ${provider}\` removes what is live of it.`,
      ),
    ...endpoints
      .filter(({ action }) => action === 'adopt')
      .map(({ endpoint }) => `- \`ryla adopt ${cell(endpoint)}\` takes over what is live of it.`),
    ...endpoints
      .filter((entry) => isDeployed(entry) && entry.result === 'rolled_back')
      .map(
        ({ endpoint }) =>
          `- \`${cell(endpoint)}\` is as it was before. Mend it and push, or run the deploy again.`,
      ),
  ];
  return [
    ...(errors.length === 0 ? [] : ['\n**What went wrong**\n', ...errors]),
    ...(steps.length === 0 ? [] : ['\n**What to do**\n', ...steps]),
    '',
  ].join('\n');
}

function isRemoved(entry: PlanEntry): boolean {
  return isDeployed(entry) && entry.result === 'undeployed';
}

/** The body of the issue that a nightly drift check opens. */
export function driftMarkdown(document: DeploymentDocument): string {
  const { provider } = document;
  const where = `${CLOUD[provider]}, environment ${document.environment}`;
  const drifted = document.endpoints.filter(({ action }) => action !== 'unchanged');
  if (drifted.length === 0) return `What is live on ${where} is what ${short(document.head)} says.\n`;
  return [
    `What is live on **${where}** is not what commit \`${short(document.head)}\` says.\n`,
    entryTable(drifted, DRIFT_HEAD),
    '\n**What to do**\n',
    `- Bring it back to the repository: \`ryla deploy --all --provider ${provider}\`, or start the workflow \`deploy-${provider}\` by ` +
      'hand with the base `none`. Only what differs is deployed. Without that base, only what changed since the last successful deploy ' +
      'is looked at.',
    '- If what is live is right, bring the change into the repository by a pull request.',
    '- After `ryla rollback`, this stays until a deploy brings the repository back: revert the commit, or mend it.',
    ...(drifted.some(({ action }) => action === 'undeploy')
      ? ['- Endpoints that the repository does not have any more: `ryla undeploy <endpoint>`.']
      : []),
    ...(drifted.some(({ action }) => action === 'adopt')
      ? ['- Endpoints that ryla did not make: `ryla adopt <endpoint>` takes them over as they are.']
      : []),
    '',
  ].join('\n');
}

/** A drift for a terminal. */
export function driftText(document: DeploymentDocument): string {
  const drifted = document.endpoints.filter(({ action }) => action !== 'unchanged');
  if (drifted.length === 0)
    return `${CLOUD[document.provider]} ${document.environment}: what is live is what ${short(document.head)} says.`;
  const rows = drifted.map(({ endpoint, provider, action, liveVersion, liveCommit, reasons }) => [
    endpoint,
    provider,
    WORDS[action],
    shortVersion(liveVersion),
    liveCommit ?? '–',
    reasonLines(reasons)[0] ?? '',
  ]);
  return table(['endpoint', 'cloud', 'drift', 'live', 'commit', 'why'], rows);
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

/** One line that cannot leave its cell, nor become markup. */
function cell(text: string): string {
  return text
    .replace(/\s*\n\s*/g, ' ')
    .replace(/[|<>`]/g, (character) => ({ '|': '\\|', '<': '&lt;', '>': '&gt;', '`': "'" })[character] ?? '')
    .slice(0, 600);
}

function short(ref: string | null): string {
  return ref === null ? '–' : ref.slice(0, 7);
}

/** An image's digest is its version on RunPod. */
function shortVersion(version: string | null): string {
  if (version === null) return '–';
  const digest = /@sha256:([0-9a-f]{12})/.exec(version);
  return digest?.[1] ?? version;
}
