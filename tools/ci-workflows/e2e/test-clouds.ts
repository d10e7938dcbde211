/** The local clouds of a test run, as a new account of each would be, with the models that the endpoints ask for. */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

import { LOCAL_CLOUDS_FILE } from '@ryla/business/local-clouds';
import { LocalClouds, pythonEnvironment } from '@ryla/start';
import { listEndpoints, loadEndpoint } from '@ryla/workflow/node';

import { WORKSPACE_ROOT } from '../src/pinned-tools.ts';

/** Running clouds, and what leads a workflow's steps to them. */
export interface TestClouds extends AsyncDisposable {
  readonly clouds: LocalClouds;
  readonly env: Readonly<Record<string, string>>;
  readonly secrets: Readonly<Record<string, string>>;
  /** Names of the apps that are deployed on Modal in an environment; undefined where there is no such environment. */
  modalApps(environment: string): Promise<readonly string[] | undefined>;
  /** Images of the endpoints on RunPod, by name. */
  runpodImages(): Promise<Readonly<Record<string, string>>>;
  /** Runs the real `modal`, as somebody would by hand. */
  modal(...args: readonly string[]): Promise<string>;
}

/** Starts clouds that keep everything in a folder. */
export async function startTestClouds(folder: string): Promise<TestClouds> {
  const python = pythonEnvironment(WORKSPACE_ROOT);
  process.env['COMFY_SIM_MODEL_LOAD_MS'] = '0';
  const clouds = await LocalClouds.start({
    workspaceRoot: WORKSPACE_ROOT,
    python,
    stateDir: path.join(folder, 'clouds'),
  });
  await clouds.createApiSecret();
  const endpoints = path.join(WORKSPACE_ROOT, 'apps/endpoints');
  for (const name of listEndpoints(endpoints))
    await clouds.placeSimulatedModels(loadEndpoint(path.join(endpoints, name)));
  const file = path.join(folder, LOCAL_CLOUDS_FILE);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, JSON.stringify(clouds.description));
  const { MODAL_TOKEN_ID: id = '', MODAL_TOKEN_SECRET: secret = '', ...env } = clouds.environment;
  const apiKey = clouds.description.runpod.apiKey;
  const management = env['RUNPOD_MANAGEMENT_URL'] ?? '';
  const request = async (method: string, url: string, body?: unknown): Promise<unknown> => {
    const response = await fetch(url, {
      method,
      headers: { authorization: `Bearer ${apiKey}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`The local RunPod answered ${response.status} to ${url}: ${text}`);
    return text === '' ? null : JSON.parse(text);
  };
  await request('PUT', `${management.replace(/\/v2$/, '')}/_local/worker`, {
    command: [python.python, '-m', 'ryla_runpod'],
    env: { COMFYUI_MODELS_DIR: path.join(folder, 'clouds/modal/volumes/main/ryla-models') },
  });
  const modal = (...args: readonly string[]): Promise<string> =>
    run(path.join(python.bin, 'modal'), args, clouds.environment);
  return {
    clouds,
    env: { ...env, RYLA_LOCAL_CLOUDS_ROOT: folder },
    secrets: {
      MODAL_TOKEN_ID: id,
      MODAL_TOKEN_SECRET: secret,
      MODAL_READ_TOKEN_ID: id,
      MODAL_READ_TOKEN_SECRET: secret,
      RUNPOD_API_KEY: apiKey,
      RUNPOD_READ_API_KEY: apiKey,
      RYLA_API_TOKEN: clouds.apiToken ?? '',
    },
    async modalApps(environment) {
      const environments = JSON.parse(await modal('environment', 'list', '--json')) as { name: string }[];
      if (!environments.some(({ name }) => name === environment)) return undefined;
      const apps = JSON.parse(await modal('app', 'list', '--env', environment, '--json')) as {
        description: string;
        state: string;
      }[];
      return apps
        .filter(({ state }) => state === 'deployed')
        .map(({ description }) => description)
        .sort();
    },
    async runpodImages() {
      const found = (await request('GET', `${management.replace(/\/v2$/, '')}/_local/state`)) as {
        endpoints: Record<string, { name: string; image?: string; imageName?: string }>;
      };
      return Object.fromEntries(
        Object.values(found.endpoints).map(({ name, image, imageName }) => [name, image ?? imageName ?? '']),
      );
    },
    modal,
    [Symbol.asyncDispose]: () => clouds.stop(),
  };
}

async function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const { stdout } = await promisify(execFile)(program, [...args], {
    env: { ...process.env, ...env, NO_COLOR: '1', FORCE_COLOR: undefined, COLUMNS: '500' },
  });
  return stdout;
}
