/** What this library may touch: adoption, removal and rolling back, against the local RunPod. */
import { inspect } from 'node:util';

import { describe, expect, it } from 'vitest';

import { applyRunpod } from './apply.ts';
import { useDeployments } from './deployment.fixture.ts';
import { desire, image } from './desired-endpoint.fixture.ts';
import { readRunpodEndpoints, readRunpodLive } from './live-state.ts';
import { describeRunpodPlan } from './plan-text.ts';
import { hasChanges, orphansOf, planRunpodRemoval } from './plan.ts';
import { rollBackRunpod } from './rollback.ts';

const on = useDeployments();

describe('an endpoint made by hand', () => {
  const byHand = {
    name: 'ryla-photo-finish',
    type: 'QUEUE',
    image: 'somebody/worker:latest',
    gpu: { pools: ['ADA_24'] },
    scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
    env: { HF_TOKEN: 'hf_typed_in_by_hand' },
  };

  it('is refused, saying what to do', async () => {
    await on.cloud.send('POST', 'serverless', byHand);
    await on.cloud.forgetRequests();
    await expect(on.plan([desire()])).rejects.toMatchObject({
      code: 'unmanaged_endpoint',
      endpoint: 'photo-finish',
      message: expect.stringContaining('adopt: ["photo-finish"]') as unknown,
    });
    expect(await on.cloud.writes()).toEqual([]);
  });

  it('is refused when it appears after the plan', async () => {
    const next = await on.plan([desire()]);
    await on.cloud.send('POST', 'serverless', { ...byHand, name: 'ryla-photo-finish -fb' });
    await on.cloud.forgetRequests();
    const report = await applyRunpod(next, on.client);
    expect(report.entries[0]).toMatchObject({ outcome: 'failed', error: { code: 'unmanaged_endpoint' } });
    expect(await on.cloud.writes()).toEqual([]);
  });

  it('is adopted when told so, and keeps its id', async () => {
    const { id } = await on.cloud.send('POST', 'serverless', byHand);
    await on.cloud.forgetRequests();
    const next = await on.plan([desire()], { adopt: ['photo-finish'] });
    const text = describeRunpodPlan(next);
    expect(text).toContain('made by hand, becomes managed');
    expect(text).toMatch(/env\.HF_TOKEN +\(hidden\) → \(none\)/);
    expect(text + JSON.stringify(next)).not.toContain('typed_in');
    expect(await applyRunpod(next, on.client)).toMatchObject({
      ok: true,
      entries: [{ outcome: 'updated', id }],
    });
    expect(hasChanges(await on.plan([desire()]))).toBe(false);
  });

  it('is found by the id that endpoint.json gives', async () => {
    const { id } = await on.cloud.send('POST', 'serverless', { ...byHand, name: 'my first endpoint' });
    const desired = desire('photo-finish', { settings: { endpointId: String(id) } });
    await expect(on.plan([desired])).rejects.toMatchObject({ code: 'unmanaged_endpoint' });
    await applyRunpod(await on.plan([desired], { adopt: ['photo-finish'] }), on.client);
    expect(await readRunpodEndpoints(on.client)).toMatchObject([{ id, name: 'ryla-photo-finish' }]);
    const gone = desire('photo-finish', { settings: { endpointId: 'nosuchid' } });
    await expect(on.plan([gone])).rejects.toMatchObject({ code: 'ambiguous_endpoint' });
  });

  it('for CPUs or as a load balancer cannot be adopted', async () => {
    await on.cloud.send('POST', 'serverless', {
      ...byHand,
      type: 'LOAD_BALANCER',
      scaling: { type: 'REQUEST_COUNT', requestCount: 1 },
    });
    await expect(on.plan([desire()], { adopt: ['photo-finish'] })).rejects.toMatchObject({
      code: 'immutable_field',
    });
  });
});

describe('a marker', () => {
  it('is looked for in the endpoint itself when a list leaves variables out', async () => {
    await on.deployed(desire());
    await on.cloud.fault('answer-field=listEndpoints/env');
    expect(hasChanges(await on.plan([desire()]))).toBe(false);
    expect((await on.cloud.received()).map(({ operation }) => operation)).toContain('getEndpoint');
  });
});

describe('removal', () => {
  it('finds what the repository does not know, and deletes only what it is told', async () => {
    await on.deploy(desire('old'), desire('kept'), desire('old', { environment: 'staging' }));
    const live = await readRunpodLive(on.client, []);
    expect(orphansOf(live, 'main', ['kept'])).toMatchObject([{ endpoint: 'old', name: 'ryla-old' }]);
    await on.cloud.forgetRequests();
    const removal = planRunpodRemoval({ endpoint: 'old', environment: 'main' }, live);
    expect(describeRunpodPlan(removal)).toContain('cannot be undone');
    expect(await applyRunpod(removal, on.client)).toMatchObject({
      ok: true,
      entries: [{ outcome: 'deleted' }],
    });
    expect(await on.cloud.writes()).toMatchObject([{ operation: 'deleteEndpoint', status: 204 }]);
    expect(await applyRunpod(removal, on.client)).toMatchObject({ entries: [{ outcome: 'unchanged' }] });
    expect(await readRunpodEndpoints(on.client)).toHaveLength(2);
  });

  it('is certain also when the answer is lost', async () => {
    await on.deployed(desire());
    const removal = planRunpodRemoval(
      { endpoint: 'photo-finish', environment: 'main' },
      await readRunpodLive(on.client, []),
    );
    await on.cloud.fault('drop-after-accept=deleteEndpoint/:1');
    expect(await applyRunpod(removal, on.client)).toMatchObject({
      ok: true,
      entries: [{ outcome: 'deleted' }],
    });
  });
});

describe('rolling back', () => {
  it('gives an updated endpoint its former settings, variables and fingerprint', async () => {
    await on.deployed(
      desire('photo-finish', { settings: { env: { MODE: 'former' }, excludedGpuTypes: ['NVIDIA L40'] } }),
    );
    const before = await on.cloud.control('GET', 'state');
    const report = await on.deploy(
      desire('photo-finish', {
        image: image('b'),
        fingerprint: 'f2',
        settings: { flashboot: 'FLASHBOOT', scaling: { type: 'REQUEST_COUNT', requestCount: 3 } },
      }),
    );
    expect(inspect(report, { depth: 9 }) + JSON.stringify(report)).not.toContain('former');
    expect(await rollBackRunpod(report.entries[0]!, on.client)).toBe(true);
    expect(await on.cloud.control('GET', 'state')).toEqual(before);
  });

  it('deletes what was just made, and does nothing for what was unchanged', async () => {
    const report = await on.deploy(desire());
    expect(await rollBackRunpod(report.entries[0]!, on.client)).toBe(true);
    expect(await readRunpodEndpoints(on.client)).toEqual([]);
    expect(await rollBackRunpod({ endpoint: 'x', outcome: 'unchanged', id: 'x' }, on.client)).toBe(false);
  });
});
