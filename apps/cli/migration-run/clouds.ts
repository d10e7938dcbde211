/** The local clouds of a run: a RunPod account with endpoints, templates and a volume, and an empty Modal. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';

import { localClouds } from '@ryla/business/local-clouds';
import { z } from 'zod';

import { bin, CloudsProcess } from '../test-support/clouds-process.ts';
import { type Ended, ended } from '../test-support/live-workspace.ts';

const description = localClouds.extend({
  runpod: localClouds.shape.runpod.extend({
    managementUrl: z.url(),
    s3: z.object({ accessKey: z.string(), secretKey: z.string(), folder: z.string() }),
  }),
  stateDir: z.string(),
});

/** Addresses and credentials. */
type Description = z.infer<typeof description>;

const named = z.array(z.object({ id: z.string(), name: z.string() }));
const resources = z.object({ endpoints: named, templates: named, networkVolumes: named });

/** What RunPod's account holds. */
export type Resources = z.infer<typeof resources>;

/** One thing of it. */
export type Resource = Resources['endpoints'][number];

/** Running clouds. */
export class RunClouds implements AsyncDisposable {
  readonly state: Description;
  readonly #clouds: CloudsProcess;

  private constructor(clouds: CloudsProcess) {
    this.#clouds = clouds;
    this.state = description.parse(JSON.parse(clouds.printed));
  }

  /** What they printed, for the workspace's `.local-clouds/environment.json`. */
  get printed(): string {
    return this.#clouds.printed;
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
    return new RunClouds(
      await CloudsProcess.start({
        stateDir: folder,
        args: ['--runpod-account', account],
        env: { COMFYUI_DIR: engine, COMFYUI_PYTHON: path.join(bin, 'python') },
        log: path.join(folder, '../clouds.log'),
        // Its end is ours to say: a terminal's Ctrl-C reaches only this program, which stops the services first.
        detached: true,
      }),
    );
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

  /** What RunPod's account holds now. */
  async resources(): Promise<Resources> {
    const url = new URL('/management/_local/state', this.state.runpod.managementUrl);
    return resources.parse(await (await fetch(url)).json());
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.#clouds[Symbol.asyncDispose]();
  }
}
