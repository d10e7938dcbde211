/** A workspace of its own with the local clouds: the RunPod stand-in with a real worker of photo-finish. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

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
  /** Sets the faults of the RunPod stand-in. */
  fault(...specs: readonly string[]): Promise<void>;
  close(): Promise<void>;
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
    async fault(...specs) {
      const text = await readFile(path.join(root, '.local-clouds/environment.json'), 'utf8');
      const { runpod } = JSON.parse(text) as { runpod: { apiUrl: string } };
      const url = `${runpod.apiUrl.replace(/\/v2$/, '')}/_local/faults`;
      const response = await fetch(url, { method: 'PUT', body: JSON.stringify(specs) });
      if (response.status !== 200) throw new Error(`The stand-in refused the faults: ${response.status}`);
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

/** Starts the local clouds, registers the endpoint's RunPod worker, and leaves the file that says so. */
async function startRunpod(root: string): Promise<() => Promise<void>> {
  const bin = path.join(repositoryRoot, '.venv/bin');
  if (!existsSync(bin)) throw new Error('Run `npm run setup` first.');
  const state = path.join(root, '.local-clouds');
  const clouds = spawn(path.join(bin, 'local-clouds'), ['--state-dir', state, '--until-eof', '--json'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const closed = new Promise<void>((resolve) => clouds.once('close', () => resolve()));
  const line = await new Promise<string>((resolve, reject) => {
    clouds.once('error', reject);
    clouds.once('close', (code) => reject(new Error(`The local clouds ended with ${code}.`)));
    let text = '';
    clouds.stdout.on('data', (piece: Buffer) => {
      text += piece.toString();
      if (text.includes('\n')) resolve(text.split('\n')[0] ?? '');
    });
  });
  await mkdir(state, { recursive: true });
  await writeFile(path.join(state, 'environment.json'), line);
  const { runpod } = JSON.parse(line) as { runpod: { apiUrl: string } };
  const response = await fetch(`${runpod.apiUrl.replace(/\/v2$/, '')}/_local/endpoints/photo-finish`, {
    method: 'PUT',
    body: JSON.stringify({ command: [path.join(bin, 'python'), '-m', 'ryla_runpod'], idleTimeoutMs: 1_000 }),
  });
  if (response.status !== 200) throw new Error(`The stand-in refused the worker: ${response.status}`);
  return async () => {
    clouds.stdin.end();
    await closed;
  };
}
