/** `ryla migrate import`: shows what an account becomes; the generator of the Nx plugin writes it. */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline/promises';

import { endpointsFolder } from '@ryla/business/config';
import {
  type Account,
  type Fate,
  importReport,
  type ImportPlan,
  MigrationError,
  planImport,
  plannedFiles,
  readAccount,
  readExports,
} from '@ryla/migration';
import { createRunPodManagement } from '@ryla/runpod-management';

import { accountOf } from '../deployment/runpod-cloud.ts';
import { UsageError } from '../exit-codes.ts';
import type { Workspace } from '../workspace.ts';
import { inTarget, type MigrateOptions } from './migration-place.ts';
import { runpodIds } from './runpod-ids.ts';

/** Options of `import`. */
export interface ImportOptions extends MigrateOptions {
  readonly from?: readonly string[];
  readonly write?: boolean;
  readonly dryRun?: boolean;
  readonly report: string;
}

/** What the generator is started with. */
export interface GeneratorCall {
  readonly root: string;
  /** Absolute paths; none reads the account. */
  readonly files: readonly string[];
  /** From the root of the workspace. */
  readonly report: string;
  readonly variables: Readonly<Record<string, string>>;
}

/** Starts the generator; returns what it said that it created or changed, a line each. */
export type RunGenerator = (call: GeneratorCall) => Promise<readonly string[]>;

/** Imports an account, or shows what that would make. */
export async function importAccount(
  options: ImportOptions,
  generate: RunGenerator = runGenerator,
  ask: (question: string) => Promise<boolean> = askYes,
): Promise<void> {
  if (options.write === true && options.dryRun === true)
    throw new UsageError('--write and --dry-run contradict each other.');
  await inTarget(options, async (workspace, output) => {
    if (path.resolve(endpointsFolder(workspace)) !== path.join(workspace.root, 'apps/endpoints'))
      throw new UsageError('The import writes to apps/endpoints, and ryla.config.ts names another folder.');
    const files = (options.from ?? []).map((file) => path.resolve(file));
    const account = files.length > 0 ? await readExports(files) : await readOnline(workspace);
    const ids = runpodIds(workspace);
    const imported = new Map([...ids].map(([name, id]) => [id, name] as const));
    const plan = planImport(account, workspace.endpointNames(), imported);
    const made = plannedFiles(plan, existing(workspace)).map((file) => file.path);
    if (!output.json) output.result(undefined, shortReport(plan));
    const wanted =
      options.write === true ||
      (options.dryRun !== true &&
        !output.json &&
        process.stdin.isTTY &&
        (await ask(`Write ${made.length} files and ${options.report}? [y/N] `)));
    const report = path.relative(workspace.root, path.resolve(workspace.root, options.report));
    const variables = files.length > 0 ? {} : accountVariables(workspace);
    const changes = wanted ? await generate({ root: workspace.root, files, report, variables }) : [];
    if (output.json) output.result(document(plan, wanted, made, changes), '');
    else if (wanted) output.result(undefined, ['', ...changes].join('\n'));
    else output.note(`Nothing was written; --write writes ${made.join(', ')} and ${options.report}.`);
  });
}

/** The report but for what maps exactly, which is long and needs nobody. */
function shortReport(plan: ImportPlan): string {
  const whole = importReport(plan);
  const at = whole.indexOf('\n## Maps exactly');
  return (at < 0 ? whole : whole.slice(0, at)).trimEnd();
}

async function readOnline(workspace: Workspace): Promise<Account> {
  const { apiKey, managementUrl } = accountOf(workspace);
  await using client = createRunPodManagement({
    apiKey,
    ...(managementUrl === undefined ? {} : { baseUrl: managementUrl }),
  });
  return await readAccount(client);
}

/** Names of endpoints that the generator reads the account by. */
function accountVariables(workspace: Workspace): Readonly<Record<string, string>> {
  const { apiKey, managementUrl } = accountOf(workspace);
  return {
    RUNPOD_API_KEY: apiKey,
    ...(managementUrl === undefined ? {} : { RUNPOD_MANAGEMENT_URL: managementUrl }),
  };
}

function existing({ root }: Workspace): string | undefined {
  const file = path.join(root, 'ryla.migration.json');
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

function document(
  { endpoints, present, volumes, entries }: ImportPlan,
  written: boolean,
  files: readonly string[],
  changes: readonly string[],
): Readonly<Record<string, unknown>> {
  const of = (fate: Fate): ImportPlan['entries'] => entries.filter((entry) => entry.fate === fate);
  return {
    written,
    files,
    changes,
    endpoints: endpoints.map(({ name, runpodId, secret, volumes: ids }) => ({
      name,
      runpodId: runpodId ?? null,
      secret: secret ?? null,
      networkVolumes: ids,
    })),
    present,
    networkVolumes: volumes,
    exact: of('exact'),
    changed: of('changes'),
    needsPerson: of('person'),
  };
}

async function askYes(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await lines.question(question)).trim());
  } finally {
    lines.close();
  }
}

/** `nx g @ryla/nx-comfyui:import-runpod --write` in a process of its own: Nx takes its workspace from where it is loaded. */
async function runGenerator({ root, files, report, variables }: GeneratorCall): Promise<readonly string[]> {
  const nx = path.join(root, 'node_modules/nx/dist/bin/nx.js');
  const program = existsSync(nx) ? nx : path.join(root, 'node_modules/nx/bin/nx.js');
  const args = ['g', '@ryla/nx-comfyui:import-runpod', '--no-interactive', '--write', `--report=${report}`];
  const outer = Object.entries(process.env).filter(([name]) => !name.startsWith('NX_'));
  const child = spawn(
    process.execPath,
    [program, ...args, ...(files.length === 0 ? [] : [`--files=${files.join(',')}`])],
    {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...Object.fromEntries(outer),
        ...variables,
        NX_DAEMON: 'false',
        FORCE_COLOR: undefined,
        NO_COLOR: '1',
      },
    },
  );
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code === 0) return said.split('\n').filter((line) => /^(CREATE|UPDATE) /.test(line));
  throw new MigrationError(
    'invalid_export',
    `The generator failed:\n${said.trim().split('\n').slice(-15).join('\n')}`,
  );
}
