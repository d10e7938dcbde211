import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { type JobStore, memoryJobStore } from '@ryla/business';
import { type ManualClock, manualClock } from '@ryla/business/testing';
import { createRunPodManagement, type RunPodEndpoint, type RunPodManagement } from '@ryla/runpod-management';
import { afterAll, beforeAll, beforeEach, describe, it } from 'vitest';
import { z } from 'zod';

import { parseMigrationFile } from '../file/migration-file.ts';
import { MigrationError } from '../migration-error.ts';
import { fileText, OLD } from '../stages/endpoint.fixture.ts';
import { record } from '../stages/recorded-jobs.fixture.ts';
import { changeStage, moved } from '../stages/stage-state.ts';
import {
  type Decommission,
  type DecommissionOptions,
  planDecommission,
  scaleToZero,
} from './decommission.ts';
import { keptRecord, REDACTED } from './old-side-record.ts';
import { type QueueHealth, readQueueHealth } from './queue-health.ts';
import { type VolumeCheck, volumeData, volumeRefusals } from './volume-data.ts';

const HOUR = 3_600_000;
const root = path.resolve(import.meta.dirname, '../../../..');
const me = { by: 'ada', reason: 'test' };
const addresses = z.object({ apiUrl: z.url(), managementUrl: z.url(), apiKey: z.string() });

let cloud: z.infer<typeof addresses>;
let stopCloud: () => Promise<void>;
let client: RunPodManagement;
let live: RunPodEndpoint;
let volumeId: string;
let clock: ManualClock;
let store: JobStore;

async function control(route: string, method: string, body?: unknown): Promise<void> {
  const response = await fetch(`${cloud.managementUrl.replace(/\/v2$/, '')}/_local/${route}`, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  assert.ok(response.ok, `${method} ${route}: ${response.status}`);
}

beforeAll(async () => {
  const child = spawn(path.join(root, '.venv/bin/python'), ['-m', 'local_clouds.runpod'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const exited = once(child, 'exit');
  const [line] = z.array(z.string()).parse(await once(createInterface({ input: child.stdout }), 'line'));
  cloud = addresses.parse(JSON.parse(line ?? ''));
  client = createRunPodManagement({ apiKey: cloud.apiKey, baseUrl: cloud.managementUrl });
  stopCloud = async () => {
    await client.close();
    child.stdin.end();
    await exited;
  };
});
afterAll(() => stopCloud());

beforeEach(async () => {
  await control('state', 'DELETE');
  await control('billing', 'PUT', { serverless: [], networkVolumes: [] });
  const made = await fetch(`${cloud.managementUrl}/network-volumes`, {
    method: 'POST',
    headers: { authorization: `Bearer ${cloud.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'models', size: 50, dataCenter: 'EU-RO-1' }),
  });
  volumeId = z.object({ id: z.string() }).parse(await made.json()).id;
  live = await client.createEndpoint({
    name: 'picture -fb',
    type: 'QUEUE',
    image: 'runpod/worker-comfyui:5.8.5-base',
    gpu: { pools: ['ADA_24'], count: 1 },
    workers: { min: 0, max: 3, idleTimeout: 7 },
    scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
    dataCenterIds: ['EU-RO-1'],
    networkVolumes: [volumeId],
    env: { HF_TOKEN: 'hf_nobody_may_see_it', KEY: '{{ RUNPOD_SECRET_key }}' },
  });
  clock = manualClock(Date.UTC(2026, 10, 20, 10));
  store = memoryJobStore({ clock });
  await changeStage(store, 'picture', (state) => moved(state, 'complete', me, clock.now()));
});

const quiet: QueueHealth = { inQueue: 0, inProgress: 0, ended: 12, workers: 0 };

function check(more: Partial<VolumeCheck['document']> = {}): VolumeCheck {
  return {
    volumeId,
    checkedAt: new Date(clock.now()).toISOString(),
    document: {
      mode: 'check',
      source: 's',
      complete: true,
      files: [
        { path: 'vae/a', key: 'models/vae/a', size: 5, endpoints: ['picture'], state: 'verified' },
        { path: 'loras/b', key: 'models/loras/b', size: 7, endpoints: [], state: 'verified' },
      ],
      gone: [],
      refused: [],
      beside: ['output/'],
      notThere: [],
      leftOut: 0,
      ...more,
    },
  };
}

function plan(more: Partial<DecommissionOptions> = {}): Promise<Decommission> {
  const known = check();
  return planDecommission({
    store,
    client,
    clock,
    file: parseMigrationFile(fileText('complete')),
    endpoint: 'picture',
    runpodId: live.id,
    queueHealth: () => Promise.resolve(quiet),
    volumeCheck: () => known,
    ...more,
  });
}

const codes = ({ refusals }: Decommission): readonly string[] => refusals.map(({ code }) => code);

describe('switching the old side off', () => {
  it('is permitted when nothing came for the agreed time, and lists what nobody references', async () => {
    const { refusals, traffic, volumes, deletions } = await plan();
    assert.deepEqual(refusals, []);
    assert.deepEqual([traffic.jobs, traffic.unfinished, traffic.quietHours], [0, 0, 24]);
    assert.deepEqual(volumes[0]?.unreferenced, [{ key: 'models/loras/b', bytes: 7 }]);
    assert.deepEqual(
      deletions.map(({ kind, id }) => [kind, id]),
      [
        ['endpoint', live.id],
        ['network volume', volumeId],
      ],
    );
  });

  it('is refused before the stage complete, and where the file permits less', async () => {
    assert.deepEqual(codes(await plan({ file: parseMigrationFile(fileText('ramp_down')) })), ['stage']);
    await changeStage(store, 'picture', (state) => moved(state, 'live', me, clock.now()));
    const refused = await plan();
    assert.match(refused.refusals[0]?.message ?? '', /picture is at live; it must be at complete/);
  });

  it('is refused with the number of stored jobs, and no more when the time has passed', async () => {
    await record(store, clock, [{ backend: OLD }, { backend: OLD }]);
    const busy = await plan({ volumeCheck: () => check() });
    assert.match(busy.refusals[0]?.message ?? '', /has 2 jobs on the old side in the last 24 h/);
    clock.advance(24 * HOUR + 1);
    assert.deepEqual(codes(await plan()), []);
  });

  it('is refused while a job has not ended, however old', async () => {
    await store.create({ id: randomUUID(), endpoint: 'picture', backend: OLD, payloadHash: 'h' });
    clock.advance(48 * HOUR);
    const { refusals } = await plan();
    assert.deepEqual(
      refusals.map(({ message }) => message),
      ['1 jobs on the old side have not ended.'],
    );
  });

  it("is refused by what RunPod's queue holds, read from its job API", async () => {
    const { apiUrl, apiKey } = cloud;
    const sent = await fetch(`${apiUrl}/${live.id}/run`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: '{"input": {"a": 1}}',
    });
    assert.equal(sent.status, 200);
    const queueHealth = (): Promise<QueueHealth> => readQueueHealth({ apiUrl, apiKey, endpointId: live.id });
    const { refusals } = await plan({ queueHealth });
    assert.deepEqual(refusals, [
      { code: 'jobs_in_queue', message: "RunPod's queue has 1 jobs waiting and 0 running." },
    ]);
  });

  it('is refused when the queue cannot be read', async () => {
    const wrong = { apiUrl: cloud.apiUrl, apiKey: cloud.apiKey, endpointId: 'nobody' };
    await assert.rejects(readQueueHealth(wrong), (error) => {
      assert.ok(MigrationError.isInstance(error));
      assert.equal(error.code, 'old_side_unreadable');
      return true;
    });
  });

  it('is refused by an hour that RunPod billed, unless idle workers cost it', async () => {
    const hour = (at: number): object => ({
      startTime: new Date(at).toISOString(),
      endTime: new Date(at + HOUR).toISOString(),
      serverlessId: live.id,
      ...{ totalAmount: 0.5, gpuAmount: 0.5, cpuAmount: 0, diskAmount: 0, feeAmount: 0 },
    });
    const serverless = [hour(clock.now() - 5 * HOUR), hour(clock.now() - 30 * HOUR)];
    await control('billing', 'PUT', { serverless, networkVolumes: [] });
    const { refusals } = await plan();
    assert.match(refusals.at(-1)?.message ?? '', /billed \$0\.5000 in 1 of the last 24 h/);
    await client.updateEndpoint(live.id, { workers: { min: 1, max: 3 } });
    const idle = codes(await plan());
    assert.ok(!idle.includes('billed'));
    // The bill then proves nothing, and the count of ended jobs has just been seen first.
    assert.ok(idle.includes('jobs_elsewhere'));
  });

  it("is refused when RunPod's own count moved: jobs that came past the store", async () => {
    assert.deepEqual(codes(await plan()), []);
    clock.advance(HOUR);
    const queueHealth = (): Promise<QueueHealth> => Promise.resolve({ ...quiet, ended: 13 });
    const { refusals } = await plan({ queueHealth });
    assert.match(refusals[0]?.message ?? '', /has moved in the last 0\.0 h/);
    clock.advance(25 * HOUR);
    assert.deepEqual(codes(await plan({ queueHealth })), []);
  });

  it('is refused when nobody compared the volume since the last job, or files are not verified', async () => {
    assert.deepEqual(codes(await plan({ volumeCheck: () => undefined })), ['volume_not_checked']);
    assert.deepEqual(codes(await plan({ volumeCheck: () => undefined, withoutVolume: true })), []);
    const old = check();
    await record(store, clock, [{ backend: OLD }]);
    clock.advance(30 * HOUR);
    assert.deepEqual(codes(await plan({ volumeCheck: () => old })), ['volume_not_checked']);
    const bad = check({ refused: [{ key: 'models/../x', reason: 'leads out' }], leftOut: 2 });
    const { refusals } = await plan({ volumeCheck: () => bad });
    assert.match(refusals[0]?.message ?? '', /^3 files .*models\/\.\.\/x \(leads out\)/);
  });

  it('leaves a volume that another endpoint mounts, unless both go together', async () => {
    const { id: _id, createdAt: _at, ...rest } = live;
    const other = await client.createEndpoint({
      name: 'other',
      type: 'QUEUE',
      image: rest.image ?? '',
      gpu: { pools: ['ADA_24'], count: 1 },
      scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
      dataCenterIds: ['EU-RO-1'],
      networkVolumes: [volumeId],
    });
    const blockersOf = async (together: readonly string[]): Promise<readonly string[] | undefined> =>
      (await plan({ together, mayLose: ['output/'] })).deletions.find(({ id }) => id === volumeId)?.blockers;
    assert.match(String(await blockersOf([live.id])), /the endpoint other \(.*\) mounts it/);
    assert.deepEqual(await blockersOf([live.id, other.id]), []);
  });

  it('keeps the configuration without the value of any variable', async () => {
    const { record: kept } = await plan();
    assert.ok(kept !== undefined);
    assert.deepEqual(kept.runpod['env'], { HF_TOKEN: REDACTED, KEY: '{{ RUNPOD_SECRET_key }}' });
    assert.ok(!JSON.stringify(kept).includes('hf_nobody_may_see_it'));
    assert.equal(kept.networkVolumes[0]?.id, volumeId);
  });

  it('needs the job store to be quiet for a volume, also when its endpoint is deleted', async () => {
    const { record: made } = await plan();
    const kept = keptRecord.parse(made);
    await client.deleteEndpoint(live.id);
    const left = await plan({ kept, mayLose: ['output/'] });
    assert.deepEqual(
      [left.isGone, left.refusals, left.deletions.map(({ id }) => id)],
      [true, [], [volumeId]],
    );
    assert.deepEqual(left.deletions[0]?.blockers, []);
    assert.equal(left.deletions[0].usdPerMonth?.toFixed(2), '3.50');
    const before = check();
    await record(store, clock, [{ backend: OLD }]);
    clock.advance(1);
    const busy = await plan({ kept, volumeCheck: () => before });
    assert.deepEqual(codes(busy), ['jobs_in_store']);
    assert.match(String(busy.deletions[0]?.blockers), /before the last job on the old side/);
    await assert.rejects(plan({ kept: { ...kept, runpod: { ...kept.runpod, id: 'other' } } }), /no endpoint/);
  });

  it('scales to no workers and keeps the rest, also a second time', async () => {
    const known = await plan();
    const { before, after } = await scaleToZero(client, known);
    assert.deepEqual([before.max, after.min, after.max, after.idleTimeout], [3, 0, 0, 7]);
    assert.deepEqual((await scaleToZero(client, known)).before, after);
  });

  it('says when the endpoint is gone', async () => {
    await client.deleteEndpoint(live.id);
    await assert.rejects(plan(), /There is no endpoint .* in this RunPod account/);
    await assert.rejects(scaleToZero(client, { endpoint: 'picture', runpodId: live.id }), /no endpoint/);
  });
});

it('says of a volume that nobody asked for all of it', () => {
  clock = manualClock(0);
  const data = volumeData('v', check({ leftOut: 4 }), []);
  assert.match(volumeRefusals(data, null)[0]?.message ?? '', /4 files .* as they were not asked for/);
});
