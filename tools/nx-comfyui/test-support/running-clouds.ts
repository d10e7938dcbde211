/** Local clouds of one test file, and this package's programs acting on them as `nx run` starts them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';

import { localClouds, type LocalCloudsState, LOCAL_CLOUDS_FILE } from '@ryla/business/local-clouds';

import { MODAL, MODAL_FOLDER } from '../src/modal-command.ts';
import { WORKSPACE_ROOT } from '../src/command-line.ts';

/** How a program ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program that runs. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** The first line of standard output that begins with a text; rejects when the program ends without one. */
  line(beginning: string): Promise<string>;
}

/** Local clouds in a child process, with a folder that says how they are reached. */
export class RunningClouds implements AsyncDisposable {
  readonly folder: string;
  readonly state: LocalCloudsState;
  readonly #child: ChildProcess;

  private constructor(folder: string, state: LocalCloudsState, child: ChildProcess) {
    this.folder = folder;
    this.state = state;
    this.#child = child;
  }

  static async start(): Promise<RunningClouds> {
    const folder = mkdtempSync(path.join(tmpdir(), 'nx-comfyui-clouds-'));
    const program = path.join(WORKSPACE_ROOT, '.venv/bin/local-clouds');
    const args = ['--state-dir', path.join(folder, 'state'), '--until-eof'];
    const child = spawn(program, args, {
      env: { ...process.env, COMFY_SIM_MODEL_LOAD_MS: '0' },
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const [first] = await Promise.race([
      createInterface({ input: child.stdout })
        [Symbol.asyncIterator]()
        .next()
        .then(({ value }) => [value]),
      new Promise<never>((_, reject) => child.once('error', reject)),
    ]);
    const file = path.join(folder, LOCAL_CLOUDS_FILE);
    mkdirSync(path.dirname(file));
    writeFileSync(file, String(first));
    return new RunningClouds(folder, localClouds.parse(JSON.parse(String(first))), child);
  }

  /** The environment that leads programs to these clouds and to no account. */
  get env(): Record<string, string | undefined> {
    const outer = Object.entries(process.env).filter(([name]) => !/^(MODAL|RUNPOD|RYLA|NX)_/.test(name));
    // As Nx sets it.
    return { ...Object.fromEntries(outer), FORCE_COLOR: 'true', RYLA_LOCAL_CLOUDS_ROOT: this.folder };
  }

  /** Runs one of this package's programs. */
  program(name: string, ...args: readonly string[]): Running {
    const file = path.join(WORKSPACE_ROOT, 'tools/nx-comfyui/src', `${name}.ts`);
    return run(process.execPath, ['--conditions=@ryla/source', file, ...args], WORKSPACE_ROOT, this.env);
  }

  /** Runs `modal`. */
  modal(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
    return run(MODAL, args, MODAL_FOLDER, { ...this.env, ...this.state.environment, ...env }).ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await ended;
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string | undefined>,
): Running {
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
  const line = (beginning: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = stdout.split('\n').find((text) => text.startsWith(beginning));
        if (found !== undefined) resolve(found);
      };
      child.stdout.on('data', look);
      look();
      void ended.then(() => reject(new Error(`ended without "${beginning}":\n${stdout}\n${stderr}`)));
    });
  return { child, ended, line };
}
