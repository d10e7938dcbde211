import { readFileSync } from 'node:fs';
import path from 'node:path';

import { createMigration, STAGES } from '@ryla/migration';
import type { RunPodManagement } from '@ryla/runpod-management';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { type LocalRunPod, startLocalRunPod } from '../../test-support/local-runpod.ts';
import { migrationWorkspace, type MigrationWorkspace } from '../../test-support/migration-workspace.ts';
import { finish, type FinishOptions } from './finish-command.ts';

let cloud: LocalRunPod;
let client: RunPodManagement;
let place: MigrationWorkspace;
let id: string;
let options: FinishOptions;

beforeAll(async () => {
  cloud = await startLocalRunPod();
  ({ client } = cloud);
});
afterAll(() => cloud[Symbol.asyncDispose]());

beforeEach(async () => {
  place = migrationWorkspace('complete', { quietHours: 0 });
  ({ id } = await client.createEndpoint({
    name: 'picture',
    type: 'QUEUE',
    image: 'runpod/worker-comfyui:5.8.5-base',
    gpu: { pools: ['ADA_24'], count: 1 },
    workers: { min: 0, max: 3 },
    scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
    env: { HF_TOKEN: 'hf_nobody_may_see_it' },
  }));
  place.write('apps/endpoints/picture/endpoint.json', {
    name: 'picture',
    providers: { runpod: { endpointId: id } },
  });
  place.write('.local-clouds/environment.json', cloud.environment());
  options = { target: 'local', out: path.join(place.root, 'out') };
});
afterEach(() => {
  place[Symbol.dispose]();
});

/** Every stage up to `complete`; quiet hours and gates are the library's to judge. */
async function complete(): Promise<void> {
  await using store = await place.store();
  const state = { stage: 'complete', since: 1, evidenceSince: 1, hold: null, history: [] };
  await store.setState('migration/stage/picture', state, 0);
  const migration = createMigration({ store, fileText: () => Promise.resolve(place.migration()) });
  expect((await migration.status('picture')).effective).toBe(STAGES.at(-1));
}

describe('finish', () => {
  it('refuses with the reasons and exit code 3, and changes nothing, whatever it is told to do', async () => {
    const { out, code } = await place.run(() =>
      finish(['picture'], { ...options, apply: true, delete: true }),
    );
    expect(code).toBe(3);
    expect(out).toContain('picture is at off; it must be at complete');
    expect((await client.getEndpoint(id)).workers.max).toBe(3);
  });

  it('only looks without --apply', async () => {
    await complete();
    const { out, code } = await place.run(() => finish(['picture'], options));
    expect(code).toBe(0);
    expect(out).toContain('Nothing needs it any more.');
    expect(out).toContain('--apply keeps its configuration');
    expect((await client.getEndpoint(id)).workers.max).toBe(3);
  });

  it('keeps the configuration, scales to 0, prints the deletions, and deletes only what is confirmed', async () => {
    await complete();
    const applied = await place.run(() => finish(['picture'], { ...options, apply: true }));
    expect(applied.out).toContain('Workers are 0 now; they were 0 to 3.');
    expect(applied.out).toContain(`endpoint picture (${id})`);
    expect((await client.getEndpoint(id)).workers.max).toBe(0);
    await expect(place.run(() => finish(['picture'], { ...options, delete: true }))).rejects.toMatchObject({
      code: 'not_confirmed',
    });
    const deleted = await place.run(() =>
      finish(['picture'], { ...options, deleteEndpoint: [id], confirm: ['picture'], json: true }),
    );
    // The record still tells what the endpoint was before it was scaled to 0.
    const recordFile = path.join(options.out, 'runpod-picture.json');
    expect(JSON.parse(deleted.out)).toMatchObject({
      endpoints: [{ recordFile }],
      deletions: [{ id, outcome: 'deleted' }],
    });
    await expect(client.getEndpoint(id)).rejects.toMatchObject({ code: 'not_found' });
    const kept = readFileSync(recordFile, 'utf8');
    expect(JSON.parse(kept)).toMatchObject({
      runpod: { workers: { max: 3 }, env: { HF_TOKEN: '(not kept)' } },
    });
    expect(kept).not.toContain('hf_nobody');
  });

  it('refuses what it cannot know', async () => {
    await expect(place.run(() => finish(['nobody'], options))).rejects.toMatchObject({
      code: 'unknown_endpoint',
    });
    await expect(place.run(() => finish(['picture'], { ...options, confirm: [id] }))).rejects.toThrow(
      '--confirm belongs to --delete,',
    );
    place.write('apps/endpoints/picture/endpoint.json', { name: 'picture' });
    await expect(place.run(() => finish(['picture'], options))).rejects.toThrow('names no RunPod endpoint');
  });
});
