/** The local clouds of a run: a RunPod account with endpoints, templates and a volume, and an empty Modal. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { localClouds } from '@ryla/business/local-clouds';
import { z } from 'zod';

import { type Ended, ended, repositoryRoot } from '../test-support/live-workspace.ts';

const bin = path.join(repositoryRoot, '.venv/bin');

const description = localClouds.extend({
  runpod: localClouds.shape.runpod.extend({
    managementUrl: z.url(),
    s3: z.object({ accessKey: z.string(), secretKey: z.string(), folder: z.string() }),
  }),
  stateDir: z.string(),
});

/** Addresses and credentials. */
type Description = z.infer<typeof description>;

/** Milliseconds that the clouds have to end what they started. */
const STOP_GRACE_MS = 20_000;

/** Running clouds. */
export class RunClouds implements AsyncDisposable {
  /** What they printed, for the workspace's `.local-clouds/environment.json`. */
  readonly printed: string;
  readonly state: Description;
  readonly #child: ChildProcess;

  private constructor(printed: string, child: ChildProcess) {
    this.printed = printed;
    this.state = description.parse(JSON.parse(printed));
    this.#child = child;
  }

  /**
   * Starts them.
   *
   * @param options `account`: exported JSON of the API v2. `engine`: the folder that stands for ComfyUI's.
   */
  static async start(options: {
    readonly folder: string;
    readonly account: string;
    readonly engine: string;
  }): Promise<RunClouds> {
    const { folder, account, engine } = options;
    const child = spawn(
      path.join(bin, 'local-clouds'),
      ['--state-dir', folder, '--runpod-account', account, '--until-eof'],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
        // Its end is ours to say: a terminal's Ctrl-C reaches only this program, which stops the services first.
        detached: true,
        env: { ...process.env, COMFYUI_DIR: engine, COMFYUI_PYTHON: path.join(bin, 'python') },
      },
    );
    child.stderr.pipe(createWriteStream(path.join(folder, '../clouds.log')));
    const printed = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stdout.on('data', (piece: Buffer) => {
        text += piece.toString();
        if (text.includes('\n')) resolve(text.split('\n')[0] ?? '');
      });
      child.once('error', reject);
      child.once('close', (code) => reject(new Error(`The local clouds ended with ${String(code)}.`)));
    });
    return new RunClouds(printed, child);
  }

  /** Folder of a network volume's files. */
  volumeFolder(id: string): string {
    return path.join(this.state.runpod.s3.folder, id);
  }

  /** Lets the real RunPod worker stand for every image of the account. */
  async startWorkers(models: string): Promise<void> {
    const worker = {
      command: [path.join(bin, 'python'), '-m', 'ryla_runpod'],
      env: { COMFYUI_MODELS_DIR: models },
    };
    const url = new URL('/management/_local/worker', this.state.runpod.managementUrl);
    const response = await fetch(url, { method: 'PUT', body: JSON.stringify(worker) });
    if (!response.ok) throw new Error(`The local RunPod refused the worker: ${await response.text()}`);
  }

  /** Workers of each endpoint, as RunPod has them now. */
  async workers(): Promise<ReadonlyMap<string, { readonly min: number; readonly max: number }>> {
    const url = new URL('/management/_local/state', this.state.runpod.managementUrl);
    const account = z
      .object({
        endpoints: z.array(
          z.object({ id: z.string(), workers: z.object({ min: z.number(), max: z.number() }) }),
        ),
      })
      .parse(await (await fetch(url)).json());
    return new Map(account.endpoints.map(({ id, workers }) => [id, workers]));
  }

  /** Runs the real `modal`, as somebody would by hand. */
  modal(args: readonly string[]): Promise<Ended> {
    return ended(
      spawn(path.join(bin, 'modal'), args, {
        env: { ...process.env, ...this.state.environment, FORCE_COLOR: undefined, NO_COLOR: '1' },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_GRACE_MS);
    await closed;
    clearTimeout(timer);
  }
}
