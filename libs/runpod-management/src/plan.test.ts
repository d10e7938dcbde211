/** Planning without any RunPod: what is refused before a request is sent. */
import { inspect } from 'node:util';

import { describe, expect, it } from 'vitest';

import { desire } from './desired-endpoint.fixture.ts';
import type { LiveState } from './live-state.ts';
import { planRunpod } from './plan.ts';
import { describeRunpodPlan } from './plan-text.ts';
import { endpoint, gpuType, networkVolume, template } from './schemas.ts';

const EMPTY: LiveState = { endpoints: [] };

function live(changes: object = {}, env: Record<string, string> = {}): LiveState['endpoints'][number] {
  return endpoint.parse({
    id: 'ep1',
    name: 'ryla-photo-finish',
    type: 'QUEUE',
    gpu: { pools: ['ADA_48_PRO'], count: 1, allowedCudaVersions: [], minCudaVersion: null },
    workers: { min: 0, max: 2, idleTimeout: 60 },
    scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
    dataCenterIds: [],
    networkVolumes: [],
    timeout: 120_000,
    flashboot: 'OFF',
    createdAt: '2026-11-25T00:00:00Z',
    env: {
      RYLA_MANAGED_BY: 'ryla-runpod-management',
      RYLA_ENDPOINT: 'photo-finish',
      RYLA_ENVIRONMENT: 'main',
      RYLA_FINGERPRINT: 'f1',
      ...env,
    },
    ...changes,
  });
}

const cards = [
  gpuType.parse({
    id: 'L40S',
    name: 'L40S',
    pool: 'ADA_48_PRO',
    memory: 48,
    price: { secure: 1, community: 1 },
  }),
];
const volumes = ['EU-RO-1', 'US-KS-2'].map((dataCenter, index) =>
  networkVolume.parse({
    id: `vol${index}`,
    name: index === 0 ? 'models' : 'twice',
    size: 50,
    dataCenter,
    type: 'STANDARD',
  }),
);

describe('a plan refuses', () => {
  it('two endpoints of one name, and two live ones with one marker', () => {
    const twin = desire('other', { settings: { name: 'ryla-photo-finish' } });
    expect(() => planRunpod([desire(), twin], EMPTY)).toThrow(/photo-finish and other would both be/);
    const two = { endpoints: [live(), live({ id: 'ep2' })] };
    expect(() => planRunpod([desire()], two)).toThrow(/ep1 \(.*\) and ep2 \(.*\) for photo-finish in main/);
  });

  it('a name that belongs to another endpoint or environment', () => {
    const other = { endpoints: [live({}, { RYLA_ENVIRONMENT: 'staging' })] };
    expect(() => planRunpod([desire()], other, { adopt: ['photo-finish'] })).toThrow(
      /belongs to photo-finish in the environment staging/,
    );
  });

  it('a pool or a card that the catalogue does not have', () => {
    const state = { ...EMPTY, gpuTypes: cards };
    expect(() => planRunpod([desire('a', { settings: { gpuPools: ['ADA_99'] } })], state)).toThrow(
      /no GPU pool ADA_99; it has ADA_48_PRO/,
    );
    expect(() => planRunpod([desire('a', { settings: { excludedGpuTypes: ['H100'] } })], state)).toThrow(
      /H100 is not in/,
    );
    expect(() => planRunpod([desire('a', { settings: { excludedGpuTypes: ['L40S'] } })], state)).toThrow(
      /leaves no card/,
    );
  });

  it('a network volume that is not there, is there twice, or is elsewhere', () => {
    const state = { ...EMPTY, networkVolumes: [...volumes, { ...volumes[1]!, id: 'vol2' }] };
    const wanting = (...names: string[]) => desire('a', { settings: { networkVolumes: names } });
    expect(() => planRunpod([wanting('nope')], state)).toThrow(
      /no network volume nope; it has models \(vol0, EU-RO-1\)/,
    );
    expect(() => planRunpod([wanting('twice')], state)).toThrow(/Several network volumes are called twice/);
    expect(planRunpod([wanting('models', 'vol2')], state).entries[0]).toMatchObject({
      changes: expect.arrayContaining([
        expect.objectContaining({ field: 'dataCenterIds', to: 'EU-RO-1, US-KS-2' }),
      ]) as unknown,
    });
    const elsewhere = desire('a', { settings: { networkVolumes: ['models'], dataCenterIds: ['US-KS-2'] } });
    expect(() => planRunpod([elsewhere], state)).toThrow(
      /models is in EU-RO-1; endpoint.json asks for US-KS-2/,
    );
  });

  it('a template that is not there, or is for pods', () => {
    const desired = desire('a', { settings: { template: 'tpl' } });
    expect(() => planRunpod([desired], { ...EMPTY, templates: [] })).toThrow(/no template tpl/);
    const forPods = template.parse({ id: 'tpl', name: 't', image: 'x', env: {}, serverless: false });
    expect(() => planRunpod([desired], { ...EMPTY, templates: [forPods] })).toThrow(/for pods/);
  });

  it('an endpoint without GPUs', () => {
    expect(() => planRunpod([desire()], { endpoints: [live({ gpu: null })] })).toThrow(/has no GPU/);
  });
});

describe('a plan', () => {
  it('does not take the order of lists, spaces in references or FlashBoot in a name for a change', () => {
    const desired = desire('photo-finish', {
      config: { gpu: ['A100-80GB', 'L40S'] },
      settings: { env: { T: { secret: 'hf' } }, dataCenterIds: ['B', 'A'] },
    });
    const gpu = {
      pools: ['ADA_48_PRO', 'AMPERE_80'],
      count: 1,
      allowedCudaVersions: [],
      minCudaVersion: null,
    };
    const same = live(
      { gpu, dataCenterIds: ['A', 'B'], name: 'ryla-photo-finish -fb', image: desired.image },
      { T: '{{RUNPOD_SECRET_hf}}' },
    );
    expect(planRunpod([desired], { endpoints: [same] }).entries).toMatchObject([{ action: 'none' }]);
  });

  it('without a fingerprint does not compare it', () => {
    const { fingerprint: _, ...desired } = desire();
    const state = { endpoints: [live({ image: desired.image })] };
    expect(planRunpod([desired], state).entries).toMatchObject([{ action: 'none' }]);
  });

  it('shows another value of a variable without either value', () => {
    const desired = desire('photo-finish', { settings: { env: { MODE: 'the new value' } } });
    const plan = planRunpod([desired], {
      endpoints: [live({ image: desired.image }, { MODE: 'the old value' })],
    });
    expect(describeRunpodPlan(plan)).toMatch(/env\.MODE +another value \(hidden\)/);
    expect(describeRunpodPlan(plan)).not.toMatch(/the (old|new) value/);
  });

  it('for nothing says so', () => {
    expect(describeRunpodPlan(planRunpod([], EMPTY))).toBe('RunPod: nothing to do.');
  });

  it('prints live endpoints without values', () => {
    const printed = inspect(live({}, { HF_TOKEN: 'hf_typed' }), { depth: 9 });
    expect(printed).toContain('EnvironmentVariables(HF_TOKEN, ');
    expect(printed + JSON.stringify(live({}, { HF_TOKEN: 'hf_typed' }))).not.toContain('hf_typed');
  });
});
