/** The local clouds for a fault run: the real gateway of apps/modal, the real worker of apps/runpod, engines that count. */
import { execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

import { request } from 'undici';
import { z } from 'zod';

import { localClouds } from '../src/local-clouds.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');
const BIN = path.join(ROOT, '.venv/bin');

/** The endpoint of the local RunPod. */
export const ENDPOINT = 'chaos';

/** Seconds without a sign of life after which a RunPod job's claim may be taken over. */
const LEASE_SECONDS = 5;

/** Milliseconds that the clouds have to end their containers and workers. */
const STOP_MS = 15_000;

const printed = localClouds.extend({ stateDir: z.string() });
const state = z.object({
  endpoints: z.record(
    z.string(),
    z.object({ workers: z.array(z.object({ pid: z.number().nullable(), jobs: z.array(z.string()) })) }),
  ),
});

/** Running clouds. */
export interface ChaosClouds extends AsyncDisposable {
  /** The gateway on the local Modal, and the credentials that it takes. */
  readonly modal: { readonly url: string; readonly key: string; readonly secret: string };
  /** The job API of the local RunPod, up to /v2. */
  readonly runpod: { readonly apiUrl: string; readonly apiKey: string };
  /** File in which the engines of both write down what they run. */
  readonly book: string;
  /** Process ids of the RunPod workers that have a job in their hands. */
  busyWorkers(): Promise<readonly number[]>;
}

/** Options of {@link startClouds}. */
export interface ChaosCloudsOptions {
  /** Milliseconds that a run takes. */
  readonly runMs: number;
  /** Workers of the RunPod endpoint. */
  readonly workers: number;
}

/** Starts both clouds in processes of their own, and deploys to them. */
export async function startClouds({ runMs, workers }: ChaosCloudsOptions): Promise<ChaosClouds> {
  const folder = await mkdtemp(path.join(tmpdir(), 'chaos-clouds-'));
  const book = path.join(folder, 'runs.jsonl');
  await writeFile(book, '');
  const engine = {
    COMFYUI_DIR: path.join(import.meta.dirname, 'counting-engine'),
    COMFYUI_PYTHON: path.join(BIN, 'python'),
    COMFYUI_ARGS: `--book ${book} --run-ms ${runMs}`,
  };
  const child = spawn(
    path.join(BIN, 'local-clouds'),
    // The book lies outside of what a container with a root of its own sees.
    ['--state-dir', path.join(folder, 'state'), '--until-eof', '--no-namespaces'],
    {
      cwd: ROOT,
      env: {
        ...process.env,
        ...engine,
        LOCAL_CLOUDS_CONTAINER_PYTHON: path.join(ROOT, '.venv-containers/bin/python'),
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  child.stderr.pipe(createWriteStream(path.join(folder, 'clouds.log')));
  const closed = once(child, 'close');

  async function stop(): Promise<void> {
    child.stdin.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await closed;
    clearTimeout(timer);
    await rm(folder, { recursive: true, force: true });
  }

  try {
    const first: unknown[] = await Promise.race([
      once(createInterface({ input: child.stdout }), 'line'),
      closed,
    ]);
    if (typeof first[0] !== 'string') throw new Error('The local clouds did not start: npm run setup?');
    const { modal, runpod, environment, stateDir } = printed.parse(JSON.parse(first[0]));
    const modalClient = async (args: readonly string[], cwd = ROOT): Promise<void> => {
      const env = { ...process.env, ...environment, MODAL_LOGLEVEL: 'ERROR', NO_COLOR: '1' };
      await promisify(execFile)(path.join(BIN, 'modal'), [...args], { cwd, env });
    };
    await modalClient(['secret', 'create', '--force', 'ryla-secrets', `RYLA_API_TOKEN=${randomUUID()}`]);
    await modalClient(['deploy', 'comfyui_app.py'], path.join(ROOT, 'apps/modal'));
    const control = runpod.apiUrl.replace(/\/v2$/, '');
    const { statusCode, body } = await request(`${control}/_local/endpoints/${ENDPOINT}`, {
      method: 'PUT',
      body: JSON.stringify({
        command: [path.join(BIN, 'python'), '-m', 'ryla_runpod'],
        env: {
          COMFYUI_MODELS_DIR: path.join(stateDir, 'modal/volumes/main/ryla-models'),
          RYLA_CLAIMS_DIR: path.join(folder, 'claims'),
          RYLA_LEASE_SECONDS: String(LEASE_SECONDS),
        },
        workersMin: 0,
        workersMax: workers,
        idleTimeoutMs: 60_000,
      }),
    });
    if (statusCode !== 200) throw new Error(`The local RunPod refused the endpoint: ${await body.text()}`);
    await body.dump();
    return {
      modal: {
        url: new URL(`/_w/${modal.workspace}--ryla-comfyui-api`, modal.webUrl).href,
        key: modal.proxyKey,
        secret: modal.proxySecret,
      },
      runpod: { apiUrl: runpod.apiUrl, apiKey: runpod.apiKey },
      book,
      async busyWorkers() {
        const answer = await request(`${control}/_local/state`);
        const { endpoints } = state.parse(await answer.body.json());
        const workersOf = endpoints[ENDPOINT]?.workers ?? [];
        return workersOf.flatMap(({ pid, jobs }) => (pid === null || jobs.length === 0 ? [] : [pid]));
      },
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
