/** A workspace of its own with the local clouds: the RunPod stand-in with a real worker of photo-finish. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

import { bin, CloudsProcess } from './clouds-process.ts';

/** Milliseconds that a test with child processes may take on a slow machine. */
export const LIVE_MS = 120_000;

export const repositoryRoot = path.resolve(import.meta.dirname, '../../..');

/** How a command ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A workspace that nothing of the developer's is in. */
export interface LiveWorkspace {
  readonly root: string;
  /** How Node is called for a command of ryla. */
  commandLine(...args: readonly string[]): { readonly command: string; readonly args: string[] };
  /** Starts a command. */
  start(
    args: readonly string[],
    env?: Readonly<Record<string, string>>,
    stdin?: 'ignore' | 'pipe',
  ): ChildProcess;
  /** Runs a command to its end. */
  ryla(...args: readonly string[]): Promise<Ended>;
  /** Runs a command to its end, with this on stdin. */
  rylaReading(stdin: string, ...args: readonly string[]): Promise<Ended>;
  /** Adds a copy of photo-finish under another name, with other providers. */
  addEndpoint(name: string, providers?: object): Promise<void>;
  /** Registers an endpoint's worker with the RunPod stand-in; it stays warm for `idleTimeoutMs`. */
  registerWorker(name: string, worker: RunpodWorker): Promise<void>;
  /** Deploys the repository's photo-finish to the Modal stand-in, with the real client. */
  deployModal(): Promise<void>;
  /** Sets the faults of the RunPod stand-in. */
  fault(...specs: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

/** How a worker is started. */
export interface RunpodWorker {
  /** The real worker without it. */
  readonly command?: readonly string[];
  readonly idleTimeoutMs: number;
}

/** How the real worker is started. */
export const WORKER_COMMAND = [path.join(bin, 'python'), '-m', 'ryla_runpod'];

/** What the file of the local clouds has that is used here. */
interface CloudsFile {
  readonly environment: Readonly<Record<string, string>>;
  readonly runpod: { readonly apiUrl: string };
}

/** Makes a workspace and starts its clouds. */
export async function createLiveWorkspace(): Promise<LiveWorkspace> {
  const root = await mkdtemp(path.join(tmpdir(), 'ryla-'));
  await writeFile(path.join(root, 'nx.json'), '{}');
  await mkdir(path.join(root, 'apps/endpoints'), { recursive: true });
  const endpoint = 'apps/endpoints/photo-finish';
  await cp(path.join(repositoryRoot, endpoint), path.join(root, endpoint), { recursive: true });
  await symlink(path.join(repositoryRoot, '.venv'), path.join(root, '.venv'));
  const stopClouds = await startRunpod(root);

  const commandLine: LiveWorkspace['commandLine'] = (...args) => ({
    command: process.execPath,
    args: ['--conditions=@ryla/source', path.join(repositoryRoot, 'apps/cli/src/main.ts'), ...args],
  });
  const start = (
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    stdin: 'ignore' | 'pipe' = 'ignore',
  ): ChildProcess => {
    const line = commandLine(...args);
    return spawn(line.command, line.args, {
      cwd: root,
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, ...env },
      stdio: [stdin, 'pipe', 'pipe'],
    });
  };
  return {
    root,
    commandLine,
    start,
    ryla: (...args) => ended(start(args)),
    rylaReading(stdin, ...args) {
      const child = start(args, {}, 'pipe');
      child.stdin?.end(stdin);
      return ended(child);
    },
    async addEndpoint(name, providers) {
      const [from, to] = [path.join(root, endpoint), path.join(root, 'apps/endpoints', name)];
      await mkdir(to);
      for (const file of ['workflow.json', 'photo.jpg'])
        await writeFile(path.join(to, file), await readFile(path.join(from, file)));
      const config = JSON.parse(await readFile(path.join(from, 'endpoint.json'), 'utf8')) as object;
      const changed = { ...config, name, ...(providers === undefined ? {} : { providers }) };
      await writeFile(path.join(to, 'endpoint.json'), JSON.stringify(changed));
    },
    async registerWorker(name, { command = WORKER_COMMAND, idleTimeoutMs }) {
      await put(await cloudsFile(root), `endpoints/${name}`, { command, idleTimeoutMs });
    },
    async deployModal() {
      const { environment } = await cloudsFile(root);
      const env = { ...process.env, ...environment, NO_COLOR: '1', FORCE_COLOR: undefined };
      const cwd = path.join(repositoryRoot, 'apps/modal');
      const modal = (args: readonly string[], more = {}) =>
        promisify(execFile)(path.join(bin, 'modal'), args, { cwd, env: { ...env, ...more } });
      await modal(['secret', 'create', '--force', 'ryla-secrets', 'RYLA_API_TOKEN=a-token-of-tests']);
      await modal(['deploy', 'comfyui_app.py'], { RYLA_ENDPOINT: 'photo-finish' });
    },
    async fault(...specs) {
      await put(await cloudsFile(root), 'faults', specs);
    },
    async close() {
      await stopClouds();
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** What a child process printed, and its exit code. */
export function ended(child: ChildProcess): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (piece: Buffer) => (stdout += piece.toString()));
  child.stderr?.on('data', (piece: Buffer) => (stderr += piece.toString()));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}

/** Resolves with what stderr has said once it matches; rejects when it ends without. */
export function saidOn(stream: NodeJS.ReadableStream | null, pattern: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let said = '';
    stream?.on('data', (piece: Buffer) => {
      said += piece.toString();
      const match = pattern.exec(said);
      if (match !== null) resolve(match);
    });
    stream?.once('end', () => reject(new Error(`It ended without saying ${String(pattern)}: ${said}`)));
  });
}

async function cloudsFile(root: string): Promise<CloudsFile> {
  return JSON.parse(await readFile(path.join(root, '.local-clouds/environment.json'), 'utf8')) as CloudsFile;
}

/** Tells the RunPod stand-in something. */
async function put({ runpod }: CloudsFile, route: string, body: unknown): Promise<void> {
  const url = `${runpod.apiUrl.replace(/\/v2$/, '')}/_local/${route}`;
  const response = await fetch(url, { method: 'PUT', body: JSON.stringify(body) });
  if (response.status !== 200) throw new Error(`The stand-in refused ${route}: ${response.status}`);
}

/** Starts the local clouds, registers the endpoint's RunPod worker, and leaves the file that says so. */
async function startRunpod(root: string): Promise<() => Promise<void>> {
  if (!existsSync(bin)) throw new Error('Run `npm run setup` first.');
  const state = path.join(root, '.local-clouds');
  const clouds = await CloudsProcess.start({ stateDir: state, args: ['--json'] });
  await mkdir(state, { recursive: true });
  await writeFile(path.join(state, 'environment.json'), clouds.printed);
  const worker = { command: WORKER_COMMAND, idleTimeoutMs: 1_000 };
  await put(await cloudsFile(root), 'endpoints/photo-finish', worker);
  return () => clouds[Symbol.asyncDispose]();
}
