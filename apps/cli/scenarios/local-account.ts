/** Local clouds of a scenario run: an environment of Modal for each scenario, as empty as a new account. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

import { localClouds, type LocalCloudsState } from '@ryla/business/local-clouds';

import { bin, CloudsProcess } from '../test-support/clouds-process.ts';
import { type Ended, ended, repositoryRoot } from '../test-support/live-workspace.ts';

/** Task runners set FORCE_COLOR, which would colour even JSON; rich wraps what is wider than COLUMNS. */
const PLAIN = { FORCE_COLOR: undefined, NO_COLOR: '1', COLUMNS: '500' };

/** The clouds, in a child process. */
export class LocalAccount implements AsyncDisposable {
  readonly state: LocalCloudsState;
  readonly #clouds: CloudsProcess;
  readonly #folder: string;

  private constructor(clouds: CloudsProcess, folder: string) {
    this.state = localClouds.parse(JSON.parse(clouds.printed));
    this.#clouds = clouds;
    this.#folder = folder;
  }

  /** What `local-clouds` printed. */
  get printed(): string {
    return this.#clouds.printed;
  }

  static async start(): Promise<LocalAccount> {
    const folder = await mkdtemp(path.join(tmpdir(), 'ryla-scenario-clouds-'));
    const env = { COMFY_SIM_MODEL_LOAD_MS: '0' };
    return new LocalAccount(await CloudsProcess.start({ stateDir: folder, env }), folder);
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
    await this.#clouds[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }
}
