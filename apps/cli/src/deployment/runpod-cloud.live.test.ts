/** `ryla deploy` to RunPod against the local one, judged by the requests that it received. */
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { spawn, type ChildProcess } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { createRunPodManagement } from '@ryla/runpod-management';
import { loadEndpoint } from '@ryla/workflow/node';

import { LIVE_MS, repositoryRoot } from '../../test-support/live-workspace.ts';
import { adoptionRecords } from './adoption-records.ts';
import { applyPlan } from './apply.ts';
import type { DeployEntry, PlanEntry } from './deployment-document.ts';
import { makePlan } from './plan.ts';
import { createRunPodCloud } from './runpod-cloud.ts';
import { withRunPodEndpoints } from './runpod-endpoint-ids.ts';
import type { Images } from './runpod-images.ts';
import { smokeInputs } from './smoke.ts';

interface Request {
  readonly method: string;
  readonly operation: string;
  readonly body: { readonly image?: string; readonly env?: Record<string, string> } | null;
}

const image = (digit: string): string => `registry.example/ryla@sha256:${digit.repeat(64)}`;

describe('deploying to RunPod', () => {
  let root = '';
  let child: ChildProcess;
  let management = '';
  let apiKey = '';
  let fingerprint = '';

  beforeAll(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'deploy-runpod-'));
    child = spawn(path.join(repositoryRoot, '.venv/bin/python'), ['-m', 'local_clouds.runpod'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const line = await new Promise<string>((resolve, reject) => {
      child.stdout?.once('data', (text: Buffer) => resolve(text.toString()));
      child.once('error', reject);
      child.once('close', () => reject(new Error('The local RunPod ended.')));
    });
    const printed = JSON.parse(line) as { apiUrl: string; managementUrl: string; apiKey: string };
    ({ managementUrl: management, apiKey } = printed);
    const modal = {
      serverUrl: printed.apiUrl,
      webUrl: printed.apiUrl,
      workspace: 'w',
      proxyKey: 'k',
      proxySecret: 's',
    };
    await mkdir(path.join(root, '.local-clouds'));
    await writeFile(
      path.join(root, '.local-clouds/environment.json'),
      JSON.stringify({ modal, runpod: printed, environment: { RUNPOD_MANAGEMENT_URL: management } }),
    );
    await cp(
      path.join(repositoryRoot, 'apps/endpoints/photo-finish'),
      path.join(root, 'apps/endpoints/photo-finish'),
      {
        recursive: true,
      },
    );
  }, LIVE_MS);
  afterAll(async () => {
    const closed = new Promise((resolve) => child.once('close', resolve));
    child.stdin?.end();
    await closed;
    await rm(root, { recursive: true });
  }, LIVE_MS);
  beforeEach(async () => {
    await control('DELETE', 'state');
    fingerprint = '11111';
  });

  async function control(method: string, route: string, body?: unknown): Promise<unknown> {
    const url = `${management.replace(/\/v2$/, '')}/_local/${route}`;
    const response = await fetch(url, {
      method,
      headers: { authorization: `Bearer ${apiKey}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    expect(response.status, text).toBeLessThan(300);
    return text === '' ? undefined : JSON.parse(text);
  }

  /** Requests since the last call that change something. */
  async function writes(): Promise<Request[]> {
    const { requests } = (await control('GET', 'requests')) as { requests: Request[] };
    await control('DELETE', 'requests');
    return requests.filter(({ method }) => method !== 'GET');
  }

  function open(images: Images = {}): ReturnType<typeof createRunPodCloud> {
    const records = adoptionRecords(path.join(root, '.ryla/local'));
    return createRunPodCloud({ resolved: { root, target: 'local', config: {}, env: {} }, images, records });
  }

  async function plan(cloud: ReturnType<typeof open>): ReturnType<typeof makePlan> {
    return makePlan({
      place: { root, folder: path.join(root, 'apps/endpoints'), provider: 'runpod' },
      selection: { kind: 'all' },
      cloud,
      commit: 'abcdef0123456789',
      parallel: 1,
      smoke: true,
      inspect: (_root, { target, endpoints }) => {
        expect(target).toBe('fingerprint-runpod');
        return Promise.resolve({
          affected: null,
          fingerprints: Object.fromEntries(endpoints.map((name) => [name, { fingerprint, files: [] }])),
        });
      },
    });
  }

  async function planned(images: Images = {}): Promise<readonly PlanEntry[]> {
    await using cloud = open(images);
    return (await plan(cloud)).map(({ entry }) => entry);
  }

  async function deploy(images: Images = {}, smoke = false): Promise<DeployEntry | undefined> {
    await using cloud = open(images);
    const [entry] = await applyPlan(await plan(cloud), cloud, {
      allowUndeploy: false,
      smoke,
      parallel: 1,
      signal: new AbortController().signal,
      onStep: () => undefined,
    });
    return entry;
  }

  it('creates, then sends nothing, then changes image and record', { timeout: LIVE_MS }, async () => {
    expect(await deploy({ 'photo-finish': image('a') })).toMatchObject({
      action: 'create',
      result: 'deployed',
    });
    expect((await writes()).map(({ operation }) => operation)).toEqual(['createEndpoint']);
    expect(await deploy()).toMatchObject({ result: 'unchanged', liveCommit: 'abcdef0' });
    const { config } = loadEndpoint(path.join(root, 'apps/endpoints/photo-finish'));
    const resolved = { root, target: 'local', config: {}, env: {} } as const;
    const { endpoints } = await withRunPodEndpoints(resolved, [config], ['photo-finish']);
    await using account = createRunPodManagement({ apiKey, baseUrl: management });
    expect(endpoints[0]?.providers.runpod.endpointId).toBe((await account.listEndpoints())[0]?.id);
    // Another build of the same code is no reason to replace workers.
    expect(await deploy({ 'photo-finish': image('b') })).toMatchObject({ result: 'unchanged' });
    expect(await writes()).toEqual([]);

    fingerprint = '22222';
    expect(await deploy({ 'photo-finish': image('b') })).toMatchObject({ result: 'deployed', version: 'v2' });
    const [update] = await writes();
    expect(update?.body).toMatchObject({
      image: image('b'),
      env: { RYLA_FINGERPRINT: '22222', RYLA_PREVIOUS_IMAGE: image('a'), RYLA_PREVIOUS_FINGERPRINT: '11111' },
    });
  });

  it('refuses a change of code without an image, and says what to do', { timeout: LIVE_MS }, async () => {
    const refused = await deploy();
    expect(refused).toMatchObject({ result: 'refused' });
    expect(refused?.error).toContain('--image photo-finish=');
    await deploy({ 'photo-finish': image('a') });
    await writes();
    fingerprint = '22222';
    expect((await deploy())?.error).toContain('photo-finish=live');
    expect(await writes()).toEqual([]);
    expect(await deploy({ 'photo-finish': 'live' })).toMatchObject({ result: 'deployed' });
    expect((await deploy({ 'photo-finish': 'registry.example/ryla:latest' }))?.result).toBe('unchanged');
    fingerprint = '33333';
    expect((await deploy({ 'photo-finish': 'registry.example/ryla:latest' }))?.error).toContain('digest');
  });

  it('sees what was changed by hand, and puts it right', { timeout: LIVE_MS }, async () => {
    await deploy({ 'photo-finish': image('a') });
    await byHand({ workers: { min: 0, max: 9 } });
    expect(await planned()).toMatchObject([
      { action: 'update', reasons: [{ input: 'workers.max', why: 'is 9 on RunPod, 2 in the repository' }] },
    ]);
    expect(await deploy()).toMatchObject({ result: 'deployed' });
    expect(await planned()).toMatchObject([{ action: 'unchanged' }]);
  });

  it('takes back a deployment whose job fails', { timeout: LIVE_MS }, async () => {
    await control('PUT', 'worker', { command: ['false'] });
    const { providers } = loadEndpoint(path.join(root, 'apps/endpoints/photo-finish')).config;
    expect(providers.runpod).toEqual({});
    await edit((config) => ({ ...config, smoke: { timeout: 1, inputs: { width: 64, image: 'photo.jpg' } } }));
    const endpoint = loadEndpoint(path.join(root, 'apps/endpoints/photo-finish'));
    expect(smokeInputs(endpoint)).toEqual({
      width: 64,
      image: { path: path.join(root, 'apps/endpoints/photo-finish/photo.jpg') },
    });
    const failed = await deploy({ 'photo-finish': image('a') }, true);
    expect(failed).toMatchObject({ result: 'rolled_back', smoke: { status: 'failed' } });
    expect(failed?.error).toContain('nothing was live before');
    expect(await planned()).toMatchObject([{ action: 'create' }]);
  });

  it('rolls back to the image before, and deploys the newer one again', { timeout: LIVE_MS }, async () => {
    await deploy({ 'photo-finish': image('a') });
    await expect(rollBack()).rejects.toThrow('no earlier image');
    fingerprint = '22222';
    await deploy({ 'photo-finish': image('b') });
    expect(await rollBack()).toMatchObject({ fingerprint: '11111' });
    expect(await planned()).toMatchObject([{ action: 'update', liveFingerprint: '11111' }]);
    expect(await deploy({ 'photo-finish': image('b') })).toMatchObject({ result: 'deployed' });
    expect(await planned()).toMatchObject([{ action: 'unchanged' }]);
  });

  it('finds and removes an orphan', { timeout: LIVE_MS }, async () => {
    await deploy({ 'photo-finish': image('a') });
    await edit((config) => ({ ...config, providers: { modal: {} } }));
    expect(await planned()).toMatchObject([{ endpoint: 'photo-finish', action: 'undeploy' }]);
    await using cloud = open();
    await cloud.remove('photo-finish', {});
    expect(await cloud.live('photo-finish')).toBeNull();
  });

  async function rollBack(): Promise<unknown> {
    await using cloud = open();
    return await cloud.rollBack('photo-finish', undefined, {});
  }

  /** As somebody would in RunPod's console. */
  async function byHand(change: {
    readonly workers: { readonly min: number; readonly max: number };
  }): Promise<void> {
    await using client = createRunPodManagement({ apiKey, baseUrl: management });
    const [only] = await client.listEndpoints();
    await client.updateEndpoint(only?.id ?? '', change);
  }

  async function edit(change: (config: Record<string, unknown>) => object): Promise<void> {
    const file = path.join(root, 'apps/endpoints/photo-finish/endpoint.json');
    const source = path.join(repositoryRoot, 'apps/endpoints/photo-finish/endpoint.json');
    const { default: config } = (await import(source, { with: { type: 'json' } })) as {
      default: Record<string, unknown>;
    };
    await writeFile(file, JSON.stringify(change(config)));
  }
});
