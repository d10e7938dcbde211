/** Taking over what was made by hand, and giving it back, by the requests that the local RunPod received. */
import { inspect } from 'node:util';

import { describe, expect, it } from 'vitest';

import {
  type Adoption,
  adoptRunpod,
  parseEndpoint,
  planAdoption,
  restoreRunpod,
  secretDocument,
  unmanagedEndpoint,
} from './adoption.ts';
import { useDeployments } from './deployment.fixture.ts';
import { desire, image } from './desired-endpoint.fixture.ts';
import { readRunpodLive } from './live-state.ts';

const on = useDeployments();

const TAG = 'somebody/worker:latest';
const byHand = {
  name: 'my endpoint -fb',
  type: 'QUEUE',
  image: TAG,
  gpu: { pools: ['ADA_24'] },
  workers: { min: 0, max: 5, idleTimeout: 9 },
  scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
  env: { HF_TOKEN: 'hf_typed_in_by_hand' },
};

async function made(more: object = {}): Promise<string> {
  const { id } = await on.cloud.send('POST', 'serverless', { ...byHand, ...more });
  await on.cloud.forgetRequests();
  return String(id);
}

async function planned(id: string): Promise<Adoption> {
  const desired = desire('photo-finish', { image: TAG, keepImage: true, settings: { endpointId: id } });
  return planAdoption(desired, await readRunpodLive(on.client, [desired])) ?? expect.fail('nothing is live');
}

describe('adopting', () => {
  it('shows what a deploy would change, and adds nothing but the marker', async () => {
    const id = await made();
    const adoption = await planned(id);
    expect(adoption).toMatchObject({ id, isManaged: false });
    const fields = adoption.differences.map(({ field, from, to }) => `${field}: ${from} → ${to}`);
    expect(fields).toContain('workers.max: 5 → 2');
    expect(fields).toContain('env.HF_TOKEN: (hidden) → (none)');
    expect(fields.join()).not.toMatch(/RYLA_|image/);
    expect(inspect(adoption, { depth: 9 }) + JSON.stringify(adoption)).not.toContain('typed_in');
    expect(await adoptRunpod(adoption, on.client)).toBe('adopted');
    const marker = {
      RYLA_MANAGED_BY: 'ryla-runpod-management',
      RYLA_ENDPOINT: 'photo-finish',
      RYLA_ENVIRONMENT: 'main',
    };
    expect((await on.cloud.writes()).map(({ operation, body }) => [operation, body])).toEqual([
      ['updateEndpoint', { env: { HF_TOKEN: 'hf_typed_in_by_hand', ...marker } }],
    ]);
    expect(await planned(id)).toMatchObject({ isManaged: true });
    expect(await adoptRunpod(adoption, on.client)).toBe('unchanged');
    expect(await on.cloud.writes()).toHaveLength(1);
  });

  it('is not done to what has changed meanwhile, and once when the answer is lost', async () => {
    const id = await made();
    const adoption = await planned(id);
    await on.cloud.send('PATCH', `serverless/${id}`, { timeout: 1_000 });
    await on.cloud.forgetRequests();
    await expect(adoptRunpod(adoption, on.client)).rejects.toMatchObject({ code: 'plan_stale' });
    expect(await on.cloud.writes()).toEqual([]);
    await on.cloud.fault('drop-after-accept=updateEndpoint/:1');
    expect(await adoptRunpod(await planned(id), on.client)).toBe('adopted');
    expect(await on.cloud.writes()).toHaveLength(1);
  });

  it('refuses what another endpoint owns, and finds what is nobody’s', async () => {
    await on.deployed(desire('other'));
    const [theirs] = await on.client.listEndpoints();
    await expect(planned(theirs?.id ?? '')).rejects.toMatchObject({ code: 'unmanaged_endpoint' });
    const id = await made();
    const endpoints = await on.client.listEndpoints();
    expect(unmanagedEndpoint({ name: 'my endpoint' }, { endpoints })).toMatchObject({ id });
    expect(unmanagedEndpoint({ name: 'x', endpointId: id }, { endpoints })).toMatchObject({ id });
    expect(unmanagedEndpoint({ name: 'x', endpointId: theirs?.id ?? '' }, { endpoints })).toBeUndefined();
    expect(unmanagedEndpoint({ name: 'ryla-other' }, { endpoints })).toBeUndefined();
  });
});

it('gives back what was there before, whatever was deployed since', async () => {
  const id = await made();
  const adoption = await planned(id);
  const kept: unknown = JSON.parse(JSON.stringify(secretDocument(adoption.live)));
  await adoptRunpod(adoption, on.client);
  const report = await on.deploy(desire('photo-finish', { image: image('b'), settings: { endpointId: id } }));
  expect(report.ok).toBe(true);
  await restoreRunpod(parseEndpoint(kept), on.client);
  const now = await on.client.getEndpoint(id);
  expect(secretDocument(now)).toEqual(secretDocument(adoption.live));
  expect(now.env?.reveal()).toEqual(byHand.env);
});
