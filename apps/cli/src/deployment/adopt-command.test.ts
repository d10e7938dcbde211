/** `ryla adopt` of the workspace's own imported endpoints, by the requests that the local RunPod received. */
import { cpSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { type LocalRunPod, startLocalRunPod } from '../../test-support/local-runpod.ts';
import { repositoryRoot } from '../../test-support/live-workspace.ts';
import { migrationWorkspace, type MigrationWorkspace } from '../../test-support/migration-workspace.ts';
import { adopt } from './adopt-command.ts';
import { adoptionRecords } from './adoption-records.ts';
import { applyPlan } from './apply.ts';
import type { AdoptOptions } from './command-options.ts';
import type { DeployEntry, PlanEntry } from './deployment-document.ts';
import { makePlan } from './plan.ts';
import { rollback } from './rollback-command.ts';
import { createRunPodCloud, type RunPodCloud } from './runpod-cloud.ts';
import type { Images } from './runpod-images.ts';

const FLUX = 'jpcxjab2zpro19';
const ZIMAGE = 'xqs8k7yhabwh0k';
const account = path.join(repositoryRoot, 'libs/migration/fixtures/accounts/02-ryla-v2.json');
const image = `registry.example/ryla@sha256:${'a'.repeat(64)}`;

let cloud: LocalRunPod;
let place: MigrationWorkspace;

beforeEach(async () => {
  cloud = await startLocalRunPod(account);
  place = migrationWorkspace('off');
  for (const name of ['flux-schnell', 'z-image-turbo']) {
    const folder = path.join('apps/endpoints', name);
    for (const file of ['endpoint.json', 'workflow.json'])
      cpSync(path.join(repositoryRoot, folder, file), path.join(place.root, folder, file));
  }
  place.write('.local-clouds/environment.json', cloud.environment());
});
afterEach(async () => {
  place[Symbol.dispose]();
  await cloud[Symbol.asyncDispose]();
});

const answer = z.object({ id: z.string(), result: z.string(), record: z.string().nullable() });

async function run(name: string, more: Partial<AdoptOptions> = {}) {
  const { out, err, code } = await place.run(() => adopt(name, { target: 'local', json: true, ...more }));
  return { ...answer.parse(JSON.parse(out)), err, code };
}

function open(images: Images = {}): RunPodCloud {
  const records = adoptionRecords(path.join(place.root, '.ryla/local'));
  return createRunPodCloud({
    resolved: { root: place.root, target: 'local', config: {}, env: {} },
    images,
    records,
  });
}

function plan(at: RunPodCloud): ReturnType<typeof makePlan> {
  return makePlan({
    place: { root: place.root, folder: path.join(place.root, 'apps/endpoints'), provider: 'runpod' },
    selection: { kind: 'named', names: ['flux-schnell'] },
    cloud: at,
    commit: null,
    parallel: 1,
    smoke: false,
    inspect: (_root, { endpoints }) =>
      Promise.resolve({
        affected: null,
        fingerprints: Object.fromEntries(
          endpoints.map((name) => [name, { fingerprint: '11111', files: [] }]),
        ),
      }),
  });
}

async function planned(): Promise<PlanEntry | undefined> {
  await using at = open();
  return (await plan(at))[0]?.entry;
}

async function deploy(images: Images): Promise<DeployEntry | undefined> {
  await using at = open(images);
  const { signal } = new AbortController();
  const options = { allowUndeploy: false, smoke: false, parallel: 1, signal, onStep: () => undefined };
  return (await applyPlan(await plan(at), at, options))[0];
}

describe('adopting an imported endpoint', () => {
  it('is what a deploy asks for, in place of making another one', async () => {
    expect(await planned()).toMatchObject({
      action: 'adopt',
      reasons: [{ why: `ryla-flux-schnell (${FLUX}) was not made by ryla` }],
    });
    const refused = await deploy({ 'flux-schnell': image });
    expect(refused).toMatchObject({ result: 'refused' });
    expect(refused?.error).toContain('`ryla adopt flux-schnell` shows what differs');
    expect(await cloud.writes()).toEqual([]);
  });

  it('shows what differs and changes nothing until it is confirmed', async () => {
    const shown = await run('z-image-turbo', { plan: true });
    expect([shown.result, shown.code, shown.record]).toEqual(['planned', 3, null]);
    expect(shown.err).toContain(`ryla-z-image-turbo (${ZIMAGE}), image registry.example/ryla/z-image:2`);
    await expect(run('z-image-turbo')).rejects.toMatchObject({ code: 'not_confirmed' });
    await expect(run('z-image-turbo', { confirm: 'flux-schnell' })).rejects.toThrow('is not z-image-turbo');
    await expect(run('picture', { confirm: 'picture' })).rejects.toMatchObject({ code: 'invalid_endpoint' });
    expect(await cloud.writes()).toEqual([]);
  });

  it('keeps what it was and adds the marker; then drift, deploy and rollback work, and the way back', async () => {
    await cloud.client.updateEndpoint(FLUX, { env: { HF_TOKEN: 'hf_by_hand' }, timeout: 9_000 });
    const before = await cloud.client.getEndpoint(FLUX);
    await cloud.writes();
    const adopted = await run('flux-schnell', { confirm: 'flux-schnell' });
    expect([adopted.id, adopted.result, adopted.code]).toEqual([FLUX, 'adopted', 0]);
    expect(adopted.err).toMatch(/timeout +9000 ms +300000 ms/);
    expect(adopted.err).not.toContain('hf_by_hand');
    const [write, ...more] = await cloud.writes();
    expect(more).toEqual([]);
    expect(write).toMatchObject({
      request: `PATCH /v2/serverless/${FLUX}`,
      body: { env: { HF_TOKEN: 'hf_by_hand', RYLA_ENDPOINT: 'flux-schnell' } },
    });
    const record = adopted.record ?? '';
    expect(readFileSync(record, 'utf8')).toContain('hf_by_hand');
    expect(statSync(record).mode & 0o777).toBe(0o600);
    expect(await run('flux-schnell')).toMatchObject({ result: 'unchanged' });

    expect(await planned()).toMatchObject({
      action: 'update',
      reasons: [
        { why: 'carries no fingerprint: ryla did not deploy it' },
        { input: 'env.HF_TOKEN' },
        { input: 'timeout', why: 'is 9000 ms on RunPod, 300000 ms in the repository' },
      ],
    });
    // The image that is live has a tag only; it stays.
    expect(await deploy({ 'flux-schnell': 'live' })).toMatchObject({ result: 'deployed' });
    expect(await planned()).toMatchObject({ action: 'unchanged' });
    expect((await cloud.client.getEndpoint(FLUX)).image).toBe(before.image);
    // Nobody built it from this repository: one that was takes its place, although the settings are the repository's.
    expect(await deploy({ 'flux-schnell': image })).toMatchObject({ result: 'deployed' });
    expect((await cloud.client.getEndpoint(FLUX)).image).toBe(image);
    expect(await deploy({ 'flux-schnell': image.replaceAll('a', 'b') })).toMatchObject({
      result: 'unchanged',
    });

    await place.run(() => rollback('flux-schnell', { target: 'local', provider: 'runpod' }));
    expect((await cloud.client.getEndpoint(FLUX)).image).toBe(before.image);
    expect(await deploy({ 'flux-schnell': image })).toMatchObject({ result: 'deployed' });
    const given = { target: 'local', provider: 'runpod', to: 'before-adoption' } as const;
    const back = await place.run(() => rollback('flux-schnell', given));
    expect(back.out).toContain('Ryla does not manage it any more');
    const after = await cloud.client.getEndpoint(FLUX);
    expect(after).toEqual(before);
    expect(after.env?.reveal()).toEqual({ HF_TOKEN: 'hf_by_hand' });
    expect(await planned()).toMatchObject({ action: 'adopt' });
    await expect(place.run(() => rollback('flux-schnell', given))).rejects.toThrow('does not manage');
  });

  it('has no way back without what was kept, and says so before anything is sent', async () => {
    const { record } = await run('flux-schnell', { confirm: 'flux-schnell' });
    place.write(path.relative(place.root, record ?? ''), '{}');
    await cloud.writes();
    const given = { target: 'local', provider: 'runpod', to: 'before-adoption' } as const;
    await expect(place.run(() => rollback('flux-schnell', given))).rejects.toMatchObject({
      code: 'no_record',
    });
    await expect(place.run(() => rollback('flux-schnell', { ...given, provider: 'modal' }))).rejects.toThrow(
      'belongs to --provider runpod',
    );
    expect(await cloud.writes()).toEqual([]);
  });
});
