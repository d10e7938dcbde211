import { readFileSync } from 'node:fs';
import path from 'node:path';

import { createMigration } from '@ryla/migration';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type LocalRunPod, startLocalRunPod } from '../../test-support/local-runpod.ts';
import { migrationWorkspace, type MigrationWorkspace } from '../../test-support/migration-workspace.ts';
import type { ModalCli } from '../deployment/modal-cli.ts';
import { findWorkspace } from '../workspace.ts';
import { readBills } from './bills.ts';
import { report, type ReportOptions } from './report-command.ts';

let place: MigrationWorkspace;
let options: ReportOptions;

beforeEach(() => {
  place = migrationWorkspace('shadow');
  options = { target: 'local', out: path.join(place.root, 'out') };
});
afterEach(() => {
  place[Symbol.dispose]();
});

function written(kind: 'html' | 'md' | 'json'): string {
  return readFileSync(path.join(place.root, 'out', `report.${kind}`), 'utf8');
}

/** A comparison as it is kept, with as little in it as a report takes. */
function comparison(endpoint: string): object {
  const side = (backend: string): object => ({
    ...{ backend, gpus: [], prices: null, usdPerSecond: null, idleSeconds: null, jobs: 1, failed: 0 },
    ...{
      pictures: 1,
      usdPerPicture: null,
      executionSeconds: null,
      coldStartSeconds: null,
      picturesPerJob: null,
    },
  });
  const unknown = { lower: 0, upper: null };
  return {
    ...{ version: 2, endpoint, createdAt: '2026-11-25T12:00:00.000Z', seed: 1, runs: 1, inputs: [{}] },
    determinism: { class: 'exact', why: 'It is.' },
    sides: { old: side(`runpod:${endpoint}`), new: side(`modal:${endpoint}`) },
    ...{ jobs: [], pairs: [], latency: [], thumbnails: [], costRatio: unknown },
    floors: [],
    parity: { judged: 0, differing: 0, far: 0, interval: unknown, chance: 1, look: 0 },
    checks: [{ name: 'jobs', state: 'pass', text: 'All went well.' }],
    verdict: { state: 'ready', sentence: `${endpoint} is ready.` },
  };
}

describe('report', () => {
  it('is of stages and their history where nothing was compared', async () => {
    {
      await using store = await place.store();
      const migration = createMigration({ store, fileText: () => Promise.resolve(place.migration()) });
      await migration.advance('picture', { by: 'ada', reason: 'looked' }, { modelsVerified: true });
      await migration.advance('picture', { by: 'ada', reason: 'go' });
      await migration.rollback('picture', { by: 'grace', reason: 'wrong colours' });
    }
    const { out, code } = await place.run(() => report([], options));
    expect(code).toBe(0);
    expect(out).toContain('picture: models_verified (permitted shadow)');
    expect(written('html')).toContain('rolled back: shadow to models verified');
    expect(written('html')).toContain('wrong colours');
    expect(written('md')).toContain('| rolled back: shadow to models verified | grace | wrong colours |');
    expect(JSON.parse(written('json'))).toMatchObject({
      endpoints: [
        { endpoint: 'picture', comparison: null, migration: { status: { effective: 'models_verified' } } },
      ],
    });
  });

  it('is of comparisons where there is no migration', async () => {
    place.write('ryla.config.mjs', 'export default { migration: false };');
    const file = place.write('other.json', comparison('other'));
    const { out } = await place.run(() => report([file], { ...options, json: true }));
    expect(JSON.parse(out)).toMatchObject({ endpoints: [{ endpoint: 'other' }], bills: [] });
    expect(written('html')).toContain('other is ready.');
  });

  it('leaves out what another release kept, and says so', async () => {
    place.write('.ryla/local/migration/comparisons/old.json', { ...comparison('old'), version: 1 });
    place.write('.ryla/local/migration/comparisons/new.json', comparison('new'));
    const { out, err } = await place.run(() => report([], options));
    expect(err).toContain('old.json is left out. old.json was made by another release');
    expect(out).toContain('new is ready.');
    await expect(
      place.run(() => report(['.ryla/local/migration/comparisons/old.json'], options)),
    ).rejects.toThrow();
  });

  it('is of both, and of endpoints that only one of them knows', async () => {
    const file = place.write('other.json', comparison('other'));
    await place.run(() => report([file], options));
    const { endpoints } = JSON.parse(written('json')) as { endpoints: { endpoint: string }[] };
    expect(endpoints.map(({ endpoint }) => endpoint)).toEqual(['other', 'picture']);
    expect(written('html')).toContain('not compared: picture');
  });

  it('refuses a time of bills that is none, and says why a bill cannot be had', async () => {
    await expect(place.run(() => report([], { ...options, bills: 0 }))).rejects.toThrow('above 0');
    const { out } = await place.run(() => report([], { ...options, bills: 1 }));
    expect(out).toContain('picture, runpod:picture: no bill.');
    expect(out).toContain('picture, modal:picture: no bill.');
    expect(written('html')).toContain('The bill of the old side cannot be had:');
  });
});

it('says what to do where there is nothing to report', async () => {
  place.write('ryla.migration.json', { endpoints: {} });
  await expect(place.run(() => report([], options))).rejects.toThrow('ryla migrate compare <endpoint>');
});

describe('bills', () => {
  let cloud: LocalRunPod;
  beforeEach(async () => {
    cloud = await startLocalRunPod();
    place.write('.local-clouds/environment.json', cloud.environment());
  });
  afterEach(() => cloud[Symbol.asyncDispose]());

  it('are read of RunPod for the endpoint and its volumes, and of Modal for its app', async () => {
    const { id } = await cloud.client.createEndpoint({
      ...{ name: 'picture', type: 'QUEUE', image: 'x', gpu: { pools: ['ADA_24'], count: 1 } },
      scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
    });
    const volume = await cloud.send('POST', 'network-volumes', {
      name: 'models',
      size: 100,
      dataCenter: 'EU-RO-1',
    });
    place.write('apps/endpoints/picture/endpoint.json', {
      name: 'picture',
      providers: { runpod: { endpointId: id, networkVolumes: ['models'] } },
    });
    const hour = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000);
    await cloud.control('PUT', 'billing', {
      serverless: [
        {
          ...{
            serverlessId: id,
            totalAmount: 3,
            gpuAmount: 2.5,
            cpuAmount: 0,
            diskAmount: 0,
            feeAmount: 0.5,
          },
          ...{ startTime: hour.toISOString(), endTime: new Date(hour.getTime() + 3_600_000).toISOString() },
        },
      ],
    });
    const asked: string[][] = [];
    const cli: ModalCli = {
      run: (args) => {
        asked.push([...args]);
        const row = { description: 'ryla-picture', environment: 'main', interval_start: hour.toISOString() };
        return Promise.resolve(JSON.stringify([{ ...row, resource: 'L4', cost: '0.75' }]));
      },
    };
    const workspace = await findWorkspace('local');
    await using store = await place.store();
    const [bill] = await readBills(workspace, store, {
      sides: new Map([['picture', { old: 'runpod:picture', new: 'modal:picture' }]]),
      ...{ days: 0.1, signal: AbortSignal.timeout(60_000), cli },
    });
    expect(bill).toMatchObject({
      endpoint: 'picture',
      old: {
        bill: {
          isKnown: true,
          usd: 3,
          parts: [
            { name: 'GPU', usd: 2.5 },
            { name: 'fee', usd: 0.5 },
          ],
        },
      },
      new: { bill: { isKnown: true, usd: 0.75 } },
    });
    if (bill?.old.bill.isKnown !== true) throw new Error('The bill is known.');
    expect(bill.old.bill.storage).toEqual([{ name: volume['id'], usd: expect.any(Number) as number }]);
    expect(asked).toHaveLength(1);
    expect(asked[0]?.slice(0, 3)).toEqual(['billing', 'report', '--start']);
  });
});
