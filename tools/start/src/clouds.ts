import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createWriteStream, mkdirSync, readFileSync, type WriteStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { localClouds } from '@ryla/business/local-clouds';
import type { EndpointDefinition } from '@ryla/workflow';
import { unpinnedModels } from '@ryla/workflow/node';
import { request } from 'undici';
import { z } from 'zod';

import { endGroup, runProcess } from './child-process.ts';
import type { PythonEnvironment } from './python-environment.ts';

/** What the Python command `local-clouds` prints when it is ready. */
const description = localClouds.extend({
  runpod: localClouds.shape.runpod.extend({
    managementUrl: z.url(),
    s3: z.object({
      url: z.url(),
      accessKey: z.string(),
      secretKey: z.string(),
      /** Data centres of the network volumes with an S3 API, by the volumes' ids. */
      buckets: z.record(z.string(), z.string()),
      /** Holds the files of each network volume in a folder of its id. */
      folder: z.string(),
    }),
  }),
  engine: z.record(z.string(), z.string()),
  stateDir: z.string(),
});

/** Addresses and credentials of running local clouds. */
export type CloudsDescription = z.infer<typeof description>;

/** Options of {@link LocalClouds.start}. */
export interface LocalCloudsOptions {
  readonly workspaceRoot: string;
  readonly python: PythonEnvironment;
  /** Folder for volumes, blobs and the log; a temporary one, removed at the end, without it. */
  readonly stateDir?: string;
  readonly signal?: AbortSignal;
  /** Called with each line that the clouds and their workers log. */
  readonly onLog?: (line: string) => void;
  /** Further arguments for `local-clouds`, such as faults. */
  readonly args?: readonly string[];
}

/** A model that a real volume would hold; here it has no weights. */
const SIMULATED_MODEL = 'SIMULATED: a placeholder without weights, made by npm start for comfy-sim.\n';

/** Files of a network volume that nobody has put any on: models that no endpoint pins, and what is no model. */
const VOLUME_FILES: Readonly<Record<string, string>> = {
  'models/loras/dream-companion-style.safetensors': SIMULATED_MODEL,
  'models/loras/dream-companion-light.safetensors': `${SIMULATED_MODEL}Another one.\n`,
  'models/upscale_models/sharper-4x.pth': `${SIMULATED_MODEL}A third one.\n`,
  'output/picture_00001_.txt': 'Not a model: the volume copy names it and leaves it.\n',
};

/** Milliseconds that the clouds have to end their containers and workers. */
const STOP_GRACE_MS = 12_000;

/** A local Modal and a local RunPod in a child process, and what is deployed to them. */
export class LocalClouds implements AsyncDisposable {
  readonly description: CloudsDescription;
  readonly logFile: string;
  readonly #options: LocalCloudsOptions;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #temporary: string | undefined;
  readonly #log: WriteStream;
  #apiToken: string | undefined;

  private constructor(
    found: CloudsDescription,
    options: LocalCloudsOptions,
    parts: {
      child: ChildProcess;
      exited: Promise<void>;
      temporary: string | undefined;
      log: WriteStream;
      logFile: string;
    },
  ) {
    this.description = found;
    this.#options = options;
    this.#child = parts.child;
    this.#exited = parts.exited;
    this.#temporary = parts.temporary;
    this.#log = parts.log;
    this.logFile = parts.logFile;
  }

  /** Starts the clouds and waits until they answer. Rejects with the end of their log when they do not. */
  static async start(options: LocalCloudsOptions): Promise<LocalClouds> {
    options.signal?.throwIfAborted();
    const temporary =
      options.stateDir === undefined ? await mkdtemp(path.join(tmpdir(), 'local-clouds-')) : undefined;
    const stateDir = options.stateDir ?? temporary ?? '.';
    mkdirSync(stateDir, { recursive: true });
    const logFile = path.join(stateDir, 'clouds.log');
    const log = createWriteStream(logFile);
    const child = spawn(
      path.join(options.python.bin, 'local-clouds'),
      ['--state-dir', stateDir, '--until-eof', ...(options.args ?? [])],
      {
        cwd: options.workspaceRoot,
        env: { ...process.env, LOCAL_CLOUDS_CONTAINER_PYTHON: options.python.containerPython },
        stdio: ['pipe', 'pipe', 'pipe'],
        detached: true,
      },
    );
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.write(`${line}\n`);
      options.onLog?.(line);
    });
    try {
      const found = await firstLine(child, options.signal);
      return new LocalClouds(description.parse(JSON.parse(found)), options, {
        child,
        exited,
        temporary,
        log,
        logFile,
      });
    } catch (error) {
      endGroup(child.pid, 'SIGKILL');
      await exited;
      const said = readFileSync(logFile, 'utf8').split('\n').slice(-15).join('\n');
      if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
      options.signal?.throwIfAborted();
      throw new Error(`The local clouds did not start:\n${said}`, { cause: error });
    }
  }

  /** Environment that points the real `modal` client, and others, at these clouds. */
  get environment(): Readonly<Record<string, string>> {
    return this.description.environment;
  }

  /** Whether jobs run on comfy-sim rather than on the user's own ComfyUI. */
  get isSimulated(): boolean {
    const { COMFYUI_DIR: directory, COMFYUI_URL: url } = this.description.engine;
    return url === undefined && (directory?.includes('comfy_sim') ?? true);
  }

  /** Makes a Modal secret with the real client. */
  async createSecret(name: string, values: Readonly<Record<string, string>>): Promise<void> {
    const pairs = Object.entries(values).map(([key, value]) => `${key}=${value}`);
    await this.#modal(['secret', 'create', '--force', name, ...pairs]);
  }

  /** Makes the secret that apps/modal is deployed with; {@link apiToken} is its token. */
  async createApiSecret(): Promise<void> {
    this.#apiToken = randomToken();
    await this.createSecret('ryla-secrets', { RYLA_API_TOKEN: this.#apiToken });
  }

  /** Makes the secret that apps/modal/copy_volume.py reads the keys of RunPod's S3 API from. */
  async createVolumeSecret(): Promise<void> {
    const { accessKey, secretKey } = this.description.runpod.s3;
    await this.createSecret('ryla-runpod-s3', {
      AWS_ACCESS_KEY_ID: accessKey,
      AWS_SECRET_ACCESS_KEY: secretKey,
    });
  }

  /** Token of the bearer auth, once {@link createApiSecret} has made it. */
  get apiToken(): string | undefined {
    return this.#apiToken;
  }

  /** Deploys apps/modal with the real `modal deploy`: the app of an endpoint, or the generic one. */
  async deployModal(endpoint?: string): Promise<{ readonly app: string; readonly apiUrl: string }> {
    await this.#modal(['deploy', 'comfyui_app.py'], {
      cwd: path.join(this.#options.workspaceRoot, 'apps/modal'),
      env: { RYLA_ENDPOINT: endpoint },
    });
    const app = endpoint === undefined ? 'ryla-comfyui' : `ryla-${endpoint}`;
    return { app, apiUrl: this.modalUrl(`${app}-api`) };
  }

  /** URL of a web function by its label. */
  modalUrl(label: string): string {
    const { webUrl, workspace } = this.description.modal;
    return `http://${workspace}--${label}.localhost:${new URL(webUrl).port}`;
  }

  /** Registers the real `runpod` worker as an endpoint; it starts when a job waits for it. */
  async registerRunpodWorker(
    endpointId: string,
    options: { readonly idleTimeoutMs?: number; readonly workersMax?: number } = {},
  ): Promise<void> {
    const { apiUrl } = this.description.runpod;
    const response = await request(`${apiUrl.replace(/\/v2$/, '')}/_local/endpoints/${endpointId}`, {
      method: 'PUT',
      body: JSON.stringify({
        command: [this.#options.python.python, '-m', 'ryla_runpod'],
        env: { COMFYUI_MODELS_DIR: path.join(this.description.stateDir, 'modal/volumes/main/ryla-models') },
        workersMin: 0,
        workersMax: options.workersMax ?? 1,
        idleTimeoutMs: options.idleTimeoutMs ?? 5_000,
      }),
    });
    if (response.statusCode !== 200)
      throw new Error(`The local RunPod refused the endpoint: ${await response.body.text()}`);
    await response.body.dump();
  }

  /**
   * Puts placeholders for an endpoint's models onto the local volume, for comfy-sim only: its workflow is
   * then accepted, and its pictures are marked as simulated. With a real ComfyUI this does nothing. Those that
   * endpoint.json does not name yet are placed too: where they come from matters to real clouds only.
   */
  async placeSimulatedModels(endpoint: Pick<EndpointDefinition, 'config' | 'workflow'>): Promise<void> {
    if (!this.isSimulated) return;
    const volume = path.join(this.description.stateDir, 'modal/volumes/main/ryla-models');
    const others = unpinnedModels(endpoint).flatMap(({ directory, subfolder = '', filename }) =>
      directory === undefined ? [] : [{ directory: path.join(directory, subfolder), filename }],
    );
    for (const { directory, filename } of [...endpoint.config.models, ...others]) {
      await mkdir(path.join(volume, directory), { recursive: true });
      await writeFile(path.join(volume, directory, filename), SIMULATED_MODEL);
    }
  }

  /** Puts something to copy onto each network volume that has no files yet. */
  async fillVolumes(): Promise<void> {
    const { buckets, folder } = this.description.runpod.s3;
    for (const id of Object.keys(buckets)) {
      const volume = path.join(folder, id);
      if ((await readdir(volume)).length > 0) continue;
      for (const [name, text] of Object.entries(VOLUME_FILES)) {
        const file = path.join(volume, name);
        await mkdir(path.dirname(file), { recursive: true });
        await writeFile(file, text);
      }
    }
  }

  /** Ends the clouds with every container and worker, and removes a temporary folder. */
  async stop(): Promise<void> {
    this.#child.stdin?.end();
    endGroup(this.#child.pid, 'SIGTERM');
    const timer = setTimeout(() => endGroup(this.#child.pid, 'SIGKILL'), STOP_GRACE_MS);
    await this.#exited;
    clearTimeout(timer);
    await new Promise<void>((resolve) => this.#log.end(resolve));
    if (this.#temporary !== undefined) await rm(this.#temporary, { recursive: true, force: true });
  }

  /** Waits until the clouds end by themselves. */
  async ended(): Promise<void> {
    await this.#exited;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #modal(
    args: readonly string[],
    options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string | undefined>> } = {},
  ): Promise<void> {
    await runProcess(path.join(this.#options.python.bin, 'modal'), args, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      ...(this.#options.signal === undefined ? {} : { signal: this.#options.signal }),
      env: {
        ...this.environment,
        MODAL_LOGLEVEL: 'ERROR',
        NO_COLOR: '1',
        FORCE_COLOR: undefined,
        ...options.env,
      },
    });
  }
}

/** A token nobody else knows, for secrets that only have to exist. */
export function randomToken(): string {
  return randomUUID();
}

async function firstLine(child: ChildProcess, signal: AbortSignal | undefined): Promise<string> {
  const { stdout } = child;
  if (stdout === null) throw new Error('no output');
  return new Promise((resolve, reject) => {
    createInterface({ input: stdout }).once('line', resolve);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`local-clouds ended with exit code ${code ?? 'none'}`)));
    signal?.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
  });
}
