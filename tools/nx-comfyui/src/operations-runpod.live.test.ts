/** status, logs, costs and stop of an endpoint on the local RunPod, with the real worker behind it. */
import path from 'node:path';

import {
  applyRunpod,
  createRunPodManagement,
  desiredRunpodEndpoint,
  planRunpod,
  readRunpodLive,
  type RunPodManagement,
} from '@ryla/runpod-management';
import { loadEndpoint } from '@ryla/workflow/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { RunningClouds } from '../test-support/running-clouds.ts';
import { WORKSPACE_ROOT } from './command-line.ts';

const ENDPOINT = 'apps/endpoints/photo-finish';
const LIVE_MS = 240_000;
const IMAGE = `registry.example/worker@sha256:${'a'.repeat(64)}`;
const status = z.object({
  runpod: z
    .object({
      jobs: z.object({ inQueue: z.number(), failed: z.number() }),
      deployment: z.object({
        fingerprint: z.string().nullable(),
        workersMax: z.number(),
        workers: z.array(z.object({ id: z.string(), state: z.string() })),
      }),
    })
    .nullable(),
});
const bill = z.object({ endpointId: z.string(), activeWorkers: z.number(), totalDollars: z.number() });

let clouds: RunningClouds;
let managementUrl: string;

beforeAll(async () => {
  clouds = await RunningClouds.start();
  managementUrl = clouds.state.environment['RUNPOD_MANAGEMENT_URL'] ?? '';
  await control('worker', {
    command: [path.join(WORKSPACE_ROOT, '.venv/bin/python'), '-m', 'ryla_runpod'],
    env: { COMFYUI_MODELS_DIR: clouds.folder },
  });
}, LIVE_MS);
afterAll(() => clouds[Symbol.asyncDispose](), LIVE_MS);

async function control(route: string, body: unknown): Promise<void> {
  const url = `${managementUrl.replace(/\/v2$/, '')}/_local/${route}`;
  expect((await fetch(url, { method: 'PUT', body: JSON.stringify(body) })).ok).toBe(true);
}

function management(): RunPodManagement {
  return createRunPodManagement({ apiKey: clouds.state.runpod.apiKey, baseUrl: managementUrl });
}

/** What `ryla deploy --provider runpod` does, with a worker that is always there. */
async function deploy(): Promise<string> {
  await using client = management();
  const { config } = loadEndpoint(path.join(WORKSPACE_ROOT, ENDPOINT));
  const always = { ...config, scaling: { ...config.scaling, minContainers: 1 } };
  const desired = [desiredRunpodEndpoint(always, { image: IMAGE, fingerprint: 'f00d' })];
  const report = await applyRunpod(planRunpod(desired, await readRunpodLive(client, desired)), client);
  return report.entries[0]?.id ?? '';
}

async function runpod(name: string, ...args: readonly string[]) {
  return await clouds.program(name, ENDPOINT, '--provider', 'runpod', ...args).ended;
}

async function statusOf() {
  const { code, stdout, stderr } = await runpod('status', '--json');
  expect(code, stderr).toBe(0);
  return status.parse(JSON.parse(stdout)).runpod;
}

describe('operations on RunPod', () => {
  it('say how to deploy what is not there', { timeout: LIVE_MS }, async () => {
    expect(await statusOf()).toBeNull();
    for (const name of ['logs', 'costs', 'stop']) {
      const { code, stderr } = await runpod(name);
      expect([code, stderr]).toEqual([
        1,
        expect.stringContaining('npx nx deploy photo-finish --provider runpod'),
      ]);
    }
  });

  it('show, read, bill and stop an endpoint, whose jobs then wait', { timeout: LIVE_MS }, async () => {
    const id = await deploy();
    await using client = management();
    await expect
      .poll(async () => (await client.listWorkers(id)).workers.map(({ status }) => status), {
        timeout: LIVE_MS,
      })
      .toEqual(['IDLE']);
    expect(await statusOf()).toMatchObject({
      jobs: { inQueue: 0 },
      deployment: { fingerprint: 'f00d', workers: [{ state: 'idle' }] },
    });

    const logs = await runpod('logs', '--tail', '5000', '--source', 'system');
    expect([logs.code, logs.stdout], logs.stderr).toEqual([
      0,
      expect.stringMatching(/^\[\w+\] worker \w+ started/),
    ]);
    expect(logs.stderr).toContain('1 active worker.');

    const day = new Date().toISOString().slice(0, 10);
    const rest = { serverlessId: id, cpuAmount: 0, diskAmount: 0, feeAmount: 0 };
    await control('billing', {
      serverless: [
        { startTime: `${day}T00:00:00Z`, endTime: `${day}T23:59:59Z`, totalAmount: 2, gpuAmount: 2, ...rest },
      ],
    });
    const costs = await runpod('costs', '--for', 'today', '--json');
    const { totalDollars, ...billed } = bill.parse(JSON.parse(costs.stdout));
    expect(billed).toEqual({ endpointId: id, activeWorkers: 1 });
    expect(totalDollars).toBeGreaterThanOrEqual(2);

    const asked = await runpod('stop');
    expect([asked.code, asked.stderr]).toEqual([1, expect.stringContaining('give --yes')]);
    const stopped = await runpod('stop', '--yes');
    expect([stopped.code, stopped.stdout], stopped.stderr).toEqual([
      0,
      expect.stringContaining('Stopped ryla-photo-finish: it may have no workers.'),
    ]);
    await fetch(`${clouds.state.runpod.apiUrl}/${id}/run`, {
      method: 'POST',
      headers: { authorization: `Bearer ${clouds.state.runpod.apiKey}` },
      body: '{"input": {}}',
    });
    expect(await statusOf()).toMatchObject({
      jobs: { inQueue: 1 },
      deployment: { workersMax: 0, workers: [] },
    });

    await deploy();
    expect((await client.getEndpoint(id)).workers.max).toBeGreaterThan(0);
  });
});
