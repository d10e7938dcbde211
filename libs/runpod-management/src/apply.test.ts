/** Plan and apply against the local RunPod: each scenario by the requests that it received. */
import { inspect } from 'node:util';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { applyRunpod } from './apply.ts';
import { changedFields, useDeployments } from './deployment.fixture.ts';
import { desire, image } from './desired-endpoint.fixture.ts';
import { readRunpodEndpoints, readRunpodLive } from './live-state.ts';
import { describeRunpodPlan } from './plan-text.ts';
import { deployedEndpoint, hasChanges } from './plan.ts';
import type { RunPodSettingsInput } from './settings.ts';

const on = useDeployments();

describe('a new endpoint', () => {
  it('is one request with everything that endpoint.json says, and its marker', async () => {
    const report = await on.deploy(desire());
    const [request, ...more] = await on.cloud.writes();
    expect(more).toEqual([]);
    expect(request).toMatchObject({ operation: 'createEndpoint', status: 201 });
    expect(request!.body).toEqual({
      name: 'ryla-photo-finish',
      type: 'QUEUE',
      image: image(),
      gpu: { pools: ['ADA_48_PRO'], count: 1 },
      workers: { min: 0, max: 2, idleTimeout: 60 },
      scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
      dataCenterIds: [],
      networkVolumes: [],
      timeout: 120_000,
      flashboot: 'OFF',
      env: {
        RYLA_MANAGED_BY: 'ryla-runpod-management',
        RYLA_ENDPOINT: 'photo-finish',
        RYLA_ENVIRONMENT: 'main',
        RYLA_FINGERPRINT: 'f1',
      },
    });
    expect(report).toMatchObject({ ok: true, entries: [{ endpoint: 'photo-finish', outcome: 'created' }] });
    const live = await readRunpodLive(on.client, []);
    expect(deployedEndpoint({ endpoint: 'photo-finish', environment: 'main' }, live)).toMatchObject({
      id: report.entries[0]!.id,
      fingerprint: 'f1',
    });
  });

  it('is planned in words before', async () => {
    const text = describeRunpodPlan(await on.plan([desire('flux', { config: { gpu: ['T4'] } })]));
    expect(text).toContain('RunPod: 1 to make');
    expect(text).toContain('+ flux (ryla-flux): new endpoint');
    expect(text).toMatch(/workers\.max +2\n/);
    expect(text).toContain('Note: T4 is not among RunPod');
    expect(await on.cloud.writes()).toEqual([]);
  });

  it('takes jobs as soon as a worker stands for its image', async () => {
    const id = await on.deployed(desire());
    const queued = await on.cloud.send('POST', `../../v2/${id}/run`, { input: {} });
    expect(queued).toMatchObject({ status: 'IN_QUEUE' });
  });

  it('of another environment has its own name and its own marker', async () => {
    await on.deployed(desire());
    await on.deploy(desire('photo-finish', { environment: 'staging' }));
    const [request] = await on.cloud.writes();
    expect(request).toMatchObject({
      operation: 'createEndpoint',
      body: { name: 'ryla-photo-finish-staging', env: { RYLA_ENVIRONMENT: 'staging' } },
    });
  });
});

describe('an endpoint that is as it shall be', () => {
  it('gets no request that changes anything', async () => {
    const settings: RunPodSettingsInput = {
      containerDiskGb: 30,
      flashboot: 'FLASHBOOT',
      excludedGpuTypes: ['NVIDIA L40'],
      env: { HF_TOKEN: { secret: 'hf' } },
    };
    await on.deployed(desire('photo-finish', { settings }));
    const again = await on.plan([desire('photo-finish', { settings })]);
    expect(hasChanges(again)).toBe(false);
    expect(describeRunpodPlan(again)).toContain('= photo-finish (ryla-photo-finish, ');
    expect(await applyRunpod(again, on.client)).toMatchObject({
      ok: true,
      entries: [{ outcome: 'unchanged' }],
    });
    expect(await on.cloud.writes()).toEqual([]);
  });

  it('stays so through any two settings, one after the other', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(settingsAndConfig, settingsAndConfig, async (first, second) => {
        await on.cloud.reset();
        for (const given of [first, second]) {
          const desired = desire('any', given);
          expect(await on.deploy(desired)).toMatchObject({ ok: true });
          expect(changedFields(await on.plan([desired]))).toEqual({});
        }
        expect((await on.cloud.writes()).length).toBeLessThanOrEqual(2);
      }),
      { numRuns: 20 },
    );
  });
});

const settingsAndConfig = fc.record({
  config: fc.record({
    gpu: fc.constantFrom(['L4'], ['L40S', 'A100-80GB'], ['H100:2'], ['T4', 'A10G']),
    scaling: fc.record({
      minContainers: fc.integer({ min: 0, max: 2 }),
      maxContainers: fc.integer({ min: 2, max: 9 }),
      scaledownWindow: fc.integer({ min: 2, max: 1200 }),
    }),
    timeouts: fc.record({ execution: fc.integer({ min: 1, max: 86_400 }) }),
  }),
  settings: fc.record(
    {
      scaling: fc.oneof(
        fc.record({ type: fc.constant('QUEUE_DELAY' as const), queueDelay: fc.constantFrom(0.5, 4, 30) }),
        fc.record({
          type: fc.constant('REQUEST_COUNT' as const),
          requestCount: fc.integer({ min: 1, max: 9 }),
        }),
      ),
      flashboot: fc.constantFrom('OFF' as const, 'FLASHBOOT' as const, 'PRIORITY_FLASHBOOT' as const),
      containerDiskGb: fc.integer({ min: 1, max: 500 }),
      args: fc.constantFrom('', '--verbose', 'ünï "quoted"'),
      dataCenterIds: fc.subarray(['EU-RO-1', 'US-KS-2']),
      env: fc.dictionary(
        fc.stringMatching(/^[A-Z][A-Z0-9_]{0,8}Z$/),
        fc.oneof(fc.string(), fc.record({ secret: fc.stringMatching(/^[a-z0-9_]{1,9}$/) })),
        { maxKeys: 4 },
      ),
    },
    { requiredKeys: [] },
  ),
  image: fc.constantFrom('a', 'b').map(image),
  fingerprint: fc.constantFrom('f1', 'f2'),
});

describe('a change', () => {
  it('of the scaling sends the workers alone', async () => {
    const id = await on.deployed(desire());
    const next = await on.plan([desire('photo-finish', { config: { scaling: { maxContainers: 5 } } })]);
    expect(changedFields(next)).toEqual({ 'workers.max': '2 → 5' });
    expect(describeRunpodPlan(next)).toMatch(/workers\.max +2 → 5 +\[at once\]/);
    expect(await applyRunpod(next, on.client)).toMatchObject({
      ok: true,
      entries: [{ outcome: 'updated', id }],
    });
    expect(await on.cloud.writes()).toMatchObject([
      {
        method: 'PATCH',
        path: `/v2/serverless/${id}`,
        body: { workers: { min: 0, max: 5, idleTimeout: 60 } },
      },
    ]);
    expect(Object.keys((await on.cloud.writes())[0]!.body as object)).toEqual(['workers']);
  });

  it('of the image and the fingerprint says that workers are replaced', async () => {
    await on.deployed(desire());
    const next = await on.plan([desire('photo-finish', { image: image('b'), fingerprint: 'f2' })]);
    const text = describeRunpodPlan(next);
    expect(text).toContain('~ photo-finish (ryla-photo-finish, ');
    expect(text).toContain('the repository has changed');
    expect(text).toMatch(/@sha256:a{12}… → \S+@sha256:b{12}… {2}\[workers are replaced\]/);
    expect(text).toContain('env.RYLA_FINGERPRINT  f1 → f2');
    await applyRunpod(next, on.client);
    const [request, ...more] = await on.cloud.writes();
    expect(more).toEqual([]);
    expect(request!.body).toEqual({
      image: image('b'),
      env: expect.objectContaining({ RYLA_FINGERPRINT: 'f2', RYLA_ENDPOINT: 'photo-finish' }) as unknown,
    });
  });

  it('attaches a network volume by its name, and keeps workers where it is', async () => {
    await on.deployed(desire());
    const volume = await on.cloud.send('POST', 'network-volumes', {
      name: 'models',
      size: 200,
      dataCenter: 'EU-RO-1',
    });
    await on.cloud.forgetRequests();
    const next = await on.plan([desire('photo-finish', { settings: { networkVolumes: ['models'] } })]);
    expect(changedFields(next)).toEqual({
      dataCenterIds: '(none) → EU-RO-1',
      networkVolumes: `(none) → ${String(volume['id'])}`,
    });
    expect(await applyRunpod(next, on.client)).toMatchObject({ ok: true });
    expect((await on.cloud.writes()).map(({ body }) => body)).toEqual([
      { dataCenterIds: ['EU-RO-1'], networkVolumes: [volume['id']] },
    ]);
  });

  it('of a template is a change of what was made from it', async () => {
    const template = await on.cloud.send('POST', 'templates', {
      name: 'base',
      image: 'ubuntu:24.04',
      serverless: true,
      disk: 25,
      env: { LOG_LEVEL: 'debug', SHARED: 'from the template' },
    });
    const settings = { template: String(template['id']), env: { LOG_LEVEL: 'info' } };
    await on.deployed(desire('photo-finish', { settings }));
    const [live] = await readRunpodEndpoints(on.client);
    expect(live).toMatchObject({ image: image(), disk: 25 });
    expect([live!.env!.get('LOG_LEVEL'), live!.env!.get('SHARED')]).toEqual(['info', 'from the template']);
    expect(hasChanges(await on.plan([desire('photo-finish', { settings })]))).toBe(false);
  });
});

describe('what somebody changed by hand', () => {
  it('is found and shown as drift, and set right', async () => {
    const id = await on.deployed(desire());
    const [live] = await readRunpodEndpoints(on.client);
    await on.cloud.send('PATCH', `serverless/${id}`, {
      workers: { max: 9 },
      flashboot: 'FLASHBOOT',
      env: { ...live!.env!.reveal(), DEBUG: 'a secret typed in by hand' },
    });
    await on.cloud.forgetRequests();
    const next = await on.plan([desire()]);
    expect(next.entries).toMatchObject([{ action: 'update', because: 'drift' }]);
    expect(changedFields(next)).toEqual({
      'env.DEBUG': '(hidden) → (none)',
      'workers.max': '9 → 2',
      flashboot: 'FLASHBOOT → OFF',
    });
    expect(describeRunpodPlan(next)).toContain('somebody has changed RunPod by hand');
    expect(JSON.stringify(next) + inspect(next, { depth: 9 }) + describeRunpodPlan(next)).not.toContain(
      'typed in',
    );
    await applyRunpod(next, on.client);
    expect(await on.cloud.writes()).toHaveLength(1);
    expect(hasChanges(await on.plan([desire()]))).toBe(false);
  });

  it('after the plan was shown is not overwritten', async () => {
    const id = await on.deployed(desire());
    const next = await on.plan([desire('photo-finish', { config: { scaling: { maxContainers: 5 } } })]);
    await on.cloud.send('PATCH', `serverless/${id}`, { timeout: 1_000 });
    await on.cloud.forgetRequests();
    const report = await applyRunpod(next, on.client);
    expect(report).toMatchObject({
      ok: false,
      entries: [{ outcome: 'failed', error: { code: 'plan_stale' } }],
    });
    expect(report.entries[0]!.error!.message).toContain('timeout: 1000 ms → 120000 ms');
    expect(await on.cloud.writes()).toEqual([]);
  });
});
