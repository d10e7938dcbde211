/** Runs a workflow with act, on this machine and without Docker. */
import { spawn } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';

import { readActions, readWorkflows } from '../src/workflow-files.ts';
import { pythonTool, WORKSPACE_ROOT } from '../src/pinned-tools.ts';
import type { Origin } from './origin.ts';

/** What a run needs besides the repository. */
export interface Surroundings {
  readonly origin: Origin;
  /** Folder for what runs leave behind. */
  readonly folder: string;
  readonly apiUrl: string;
  readonly env: Readonly<Record<string, string>>;
}

/** A run to make. */
export interface RunRequest {
  /** Name of the workflow's file, without its ending. */
  readonly workflow: string;
  readonly event: string;
  /** The event, as GitHub describes it. */
  readonly payload?: unknown;
  /** One job with those that it needs; all without it. */
  readonly job?: string;
  readonly variables?: Readonly<Record<string, string>>;
  readonly secrets?: Readonly<Record<string, string>>;
  /** Variables of every step, besides those of the test. */
  readonly env?: Readonly<Record<string, string>>;
}

/** How a run ended. */
export interface RunReport {
  readonly succeeded: boolean;
  /** All that act printed. */
  readonly log: string;
  /** Summaries of all jobs, one after the other. */
  readonly summary: string;
  readonly ms: number;
}

/** Longest that a run may take, in ms: all of ci.yml on a slow machine with other work. */
const LIMIT_MS = 2_400_000;

/** Runs a workflow to its end. */
export async function runWorkflow(request: RunRequest, around: Surroundings): Promise<RunReport> {
  const { origin, folder, apiUrl } = around;
  const place = path.join(folder, 'run');
  await rm(place, { recursive: true, force: true });
  await mkdir(path.join(place, 'artifacts'), { recursive: true });
  const eventFile = path.join(place, 'event.json');
  await writeFile(eventFile, JSON.stringify(request.payload ?? {}));
  const summaryFile = path.join(place, 'summary.md');
  await writeFile(summaryFile, '');
  const env = {
    ...around.env,
    ...request.env,
    GITHUB_API_URL: apiUrl,
    STANDIN_REPOSITORY: origin.root,
    STANDIN_WORKSPACE: WORKSPACE_ROOT,
    STANDIN_ARTIFACTS: path.join(place, 'artifacts'),
    STANDIN_FOLDER: folder,
    NO_COLOR: '1',
  };
  const args = [
    request.event,
    ...['--workflows', path.join(origin.root, `.github/workflows/${request.workflow}.yml`)],
    ...['--eventpath', eventFile],
    ...['--platform', 'ubuntu-24.04=-self-hosted'],
    ...['--action-cache-path', path.join(place, 'cache')],
    ...['--secret', 'GITHUB_TOKEN=gh-local'],
    '--no-skip-checkout',
    '--no-cache-server',
    '--action-offline-mode',
    ...(request.job === undefined ? [] : ['--job', request.job]),
    ...pairs('--env', env),
    ...pairs('--var', request.variables ?? {}),
    ...pairs('--secret', request.secrets ?? {}),
    ...standIns(origin.root),
  ];
  const started = Date.now();
  const { code, log } = await runAct(args, origin.root);
  // act shows each summary in its log; the runner of GitHub keeps them apart.
  const summary = await readFile(summaryFile, 'utf8').catch(() => '');
  return {
    succeeded: code === 0,
    log,
    summary: summary === '' ? summaryOf(log) : summary,
    ms: Date.now() - started,
  };
}

function pairs(option: string, values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).flatMap(([name, value]) => [option, `${name}=${value}`]);
}

/** A local folder for every action that is used. */
function standIns(root: string): string[] {
  const used = [...readWorkflows(root), ...readActions(root)].flatMap(({ text }) =>
    [...text.matchAll(/uses: ([\w.-]+\/[\w.-]+)(?:\/[\w./-]+)?@([0-9a-f]{40})/g)].map(
      ([, repository = '', commit = '']) => `${repository}@${commit}`,
    ),
  );
  return [...new Set(used)].flatMap((pin) => ['--local-repository', `${pin}=${folderOf(pin)}`]);
}

/** The real action, where WORKFLOW_ACTIONS has a checkout of it as <owner>+<name>; else our stand-in. */
function folderOf(pin: string): string {
  const name = pin.replace(/@.*/, '').replace('/', '+');
  const real = process.env['WORKFLOW_ACTIONS']?.split(',').find((each) => path.basename(each) === name);
  return real ?? path.join(import.meta.dirname, 'actions', name);
}

function runAct(
  args: readonly string[],
  cwd: string,
): Promise<{ readonly code: number | null; readonly log: string }> {
  const outer = Object.entries(process.env).filter(
    ([name]) => !/^(?:NX|MODAL|RUNPOD|RYLA|VITEST|GITHUB|npm)_|^(?:INIT_CWD|CI)$/.test(name),
  );
  const programs = [
    path.join(import.meta.dirname, 'programs'),
    path.join(WORKSPACE_ROOT, 'node_modules/.bin'),
  ];
  const child = spawn(pythonTool('act'), args, {
    cwd,
    env: {
      ...Object.fromEntries(outer),
      PATH: [...programs, withoutOurBins(process.env['PATH'] ?? '')].join(path.delimiter),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let log = '';
  const take = (text: string): void => {
    log += text;
    if (process.env['WORKFLOW_LOG'] === '1') process.stderr.write(text);
  };
  child.stdout.setEncoding('utf8').on('data', take);
  child.stderr.setEncoding('utf8').on('data', take);
  const stop = (): void => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  };
  const timer = setTimeout(stop, LIMIT_MS);
  process.once('exit', stop);
  return new Promise<{ code: number | null; log: string }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, log }));
  }).finally(() => {
    clearTimeout(timer);
    process.off('exit', stop);
  });
}

/** `npm run` puts its own folders in front; a step must find the stand-in programs first. */
function withoutOurBins(value: string): string {
  return value
    .split(path.delimiter)
    .filter((folder) => !folder.endsWith('node_modules/.bin') && !folder.includes('node-gyp-bin'))
    .join(path.delimiter);
}

function summaryOf(log: string): string {
  const lines: string[] = [];
  let inside = false;
  for (const line of log.split('\n')) {
    const start = /^\[[^\]]*\] +⚙ +Summary - (.*)$/.exec(line);
    if (start !== null) inside = true;
    else if (/^\[[^\]]*\] /.test(line) || line.startsWith('time=')) inside = false;
    if (start !== null) lines.push(start[1] ?? '');
    else if (inside) lines.push(line);
  }
  return lines.join('\n').trim();
}
