/** Local clouds of a scenario run: an environment of Modal for each scenario, as empty as a new account. */
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

import { localClouds, type LocalCloudsState } from '@ryla/business/local-clouds';

import { type Ended, ended, repositoryRoot } from '../test-support/live-workspace.ts';

const bin = path.join(repositoryRoot, '.venv/bin');

/** Task runners set FORCE_COLOR, which would colour even JSON; rich wraps what is wider than COLUMNS. */
const PLAIN = { FORCE_COLOR: undefined, NO_COLOR: '1', COLUMNS: '500' };

/** The clouds, in a child process. */
export class LocalAccount implements AsyncDisposable {
  /** What `local-clouds` printed. */
  readonly printed: string;
  readonly state: LocalCloudsState;
  readonly #child: ChildProcess;
  readonly #folder: string;

  private constructor(printed: string, child: ChildProcess, folder: string) {
    this.printed = printed;
    this.state = localClouds.parse(JSON.parse(printed));
    this.#child = child;
    this.#folder = folder;
  }

  static async start(): Promise<LocalAccount> {
    const folder = await mkdtemp(path.join(tmpdir(), 'ryla-scenario-clouds-'));
    const child = spawn(path.join(bin, 'local-clouds'), ['--state-dir', folder, '--until-eof'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...process.env, COMFY_SIM_MODEL_LOAD_MS: '0' },
    });
    const printed = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stdout.on('data', (piece: Buffer) => {
        text += piece.toString();
        if (text.includes('\n')) resolve(text.split('\n')[0] ?? '');
      });
      child.once('error', reject);
      child.once('close', (code) => reject(new Error(`The local clouds ended with ${String(code)}.`)));
    });
    return new LocalAccount(printed, child, folder);
  }

  /** Makes an environment with the secret that the apps need. */
  async environment(name: string): Promise<void> {
    await this.#done(['environment', 'create', name]);
    await this.secret(name);
  }

  /** Makes the secret that the apps need. */
  secret(environment: string): Promise<void> {
    return this.#done(['secret', 'create', 'ryla-secrets', 'A=1', '--env', environment]);
  }

  async #done(args: readonly string[]): Promise<void> {
    const { code, stderr } = await this.modal(args);
    if (code !== 0) throw new Error(`modal ${args.join(' ')}: ${stderr}`);
  }

  /** Runs the real `modal`, as somebody would by hand. */
  modal(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    root = repositoryRoot,
  ): Promise<Ended> {
    return ended(
      spawn(path.join(bin, 'modal'), args, {
        cwd: path.join(root, 'apps/modal'),
        env: { ...process.env, ...this.state.environment, ...PLAIN, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin?.end();
    if (this.#child.exitCode === null) await closed;
    await rm(this.#folder, { recursive: true, force: true });
  }
}
