import assert from 'node:assert/strict';

import { memoryJobStore } from '@ryla/business';
import { manualClock } from '@ryla/business/testing';
import type { RunPodManagement } from '@ryla/runpod-management';
import { describe, expect, it } from 'vitest';

import { record, times } from '../stages/recorded-jobs.fixture.ts';
import type { Bill } from './bill.ts';
import { billingHours } from './billing-hours.ts';
import { endpointBill } from './endpoint-bill.ts';
import { modalBill, modalBillArguments } from './modal-bill.ts';
import { runpodBill } from './runpod-bill.ts';

const HOUR = 3_600_000;
const NOW = Date.UTC(2026, 10, 25, 21, 47, 12);
const hours = billingHours(1, NOW);

describe('the hours of a bill', () => {
  it('are whole, with the one that runs now', () => {
    assert.deepEqual(hours, { from: Date.UTC(2026, 10, 24, 21), to: Date.UTC(2026, 10, 25, 22) });
    assert.deepEqual(billingHours(0, Date.UTC(2026, 10, 25, 21)), {
      ...{ from: Date.UTC(2026, 10, 25, 21), to: Date.UTC(2026, 10, 25, 22) },
    });
  });

  it('are asked of Modal without a zone, which it takes for UTC', () => {
    assert.deepEqual(modalBillArguments(hours), [
      ...['billing', 'report', '--start', '2026-11-24T21:00:00', '--end', '2026-11-25T22:00:00'],
      ...['--resolution', 'h', '--show-resources', '--json'],
    ]);
  });
});

describe("Modal's bill", () => {
  const row = (description: string, resource: string, cost: string, environment = 'main') => ({
    ...{ object_id: 'ap-1', description, environment, resource, cost },
    interval_start: '2026-11-25T20:00:00+00:00',
  });

  it('is the sum of the rows of the app, by resource', () => {
    const printed = JSON.stringify([
      ...[row('ryla-picture', 'CPU', '0.01'), row('ryla-picture', 'L4', '0.25')],
      ...[
        row('ryla-picture', 'L4', '0.05'),
        row('ryla-picture', 'L4', '9', 'staging'),
        row('ryla-other', 'L4', '7'),
      ],
    ]);
    const bill = modalBill(printed, 'ryla-picture', 'main');
    assert.ok(bill.isKnown);
    assert.ok(Math.abs(bill.usd - 0.31) < 1e-9);
    assert.deepEqual(
      bill.parts.map(({ name }) => name),
      ['CPU', 'L4'],
    );
    assert.ok(modalBill(printed, 'ryla-picture', undefined).isKnown);
    expect(modalBill('[]', 'ryla-picture', 'main')).toMatchObject({ usd: 0, parts: [] });
  });

  it.each(['', 'no JSON', '{}', JSON.stringify([row('a', 'b', 'much')])])('%j is no bill', (printed) => {
    const bill = modalBill(printed, 'a', 'main');
    assert.ok(!bill.isKnown);
    assert.match(bill.why, /printed what this release does not know/);
  });
});

describe("RunPod's bill", () => {
  const amounts = { totalAmount: 1.5, gpuAmount: 1.2, cpuAmount: 0, diskAmount: 0.1, feeAmount: 0.2 };
  const window = { startTime: '2026-11-25T20:00:00Z', endTime: '2026-11-25T21:00:00Z' };
  const client: Pick<RunPodManagement, 'serverlessBilling' | 'networkVolumeBilling'> = {
    serverlessBilling: () =>
      Promise.resolve({
        records: [
          { ...window, ...amounts, serverlessId: 'a' },
          { ...window, ...amounts, serverlessId: 'a' },
          { ...window, ...amounts, serverlessId: 'b' },
        ],
        metadata: { totals: amounts },
      }),
    networkVolumeBilling: (options) =>
      Promise.resolve({
        records: [
          {
            ...window,
            totalAmount: 0.3,
            standardAmount: 0.3,
            highPerformanceAmount: 0,
            networkVolumeId: options?.networkVolumeId ?? '',
          },
        ],
        metadata: { totals: { totalAmount: 0.3, standardAmount: 0.3, highPerformanceAmount: 0 } },
      }),
  };

  it('is that of the endpoint, volumes apart', async () => {
    const bill = await runpodBill({ client, endpointId: 'a', networkVolumes: ['v1', 'v2'], hours });
    assert.ok(bill.isKnown);
    assert.equal(bill.usd, 3);
    assert.deepEqual(
      bill.parts.map(({ name }) => name),
      ['GPU', 'disk', 'fee'],
    );
    assert.deepEqual(bill.storage, [
      { name: 'v1', usd: 0.3 },
      { name: 'v2', usd: 0.3 },
    ]);
  });

  it('says why it cannot be had', async () => {
    const serverlessBilling = (): Promise<never> => Promise.reject(new Error('403: no.'));
    const bill = await runpodBill({
      ...{ client: { ...client, serverlessBilling }, endpointId: 'a', networkVolumes: [], hours },
    });
    assert.deepEqual(bill, { isKnown: false, why: '403: no.' });
  });

  it('is not had after an abort', async () => {
    const stop = new AbortController();
    const serverlessBilling = (): Promise<never> => {
      stop.abort(new Error('Enough.'));
      return Promise.reject(new Error('aborted'));
    };
    await expect(
      runpodBill({
        ...{ client: { ...client, serverlessBilling }, endpointId: 'a', networkVolumes: [], hours },
        signal: stop.signal,
      }),
    ).rejects.toThrow('Enough.');
  });
});

describe('a bill beside its jobs', () => {
  it('counts the jobs of these hours in every store, comparisons among them', async () => {
    const clock = manualClock(hours.from - HOUR);
    const [store, apart] = [memoryJobStore({ clock }), memoryJobStore({ clock })];
    await record(store, clock, times(5, { backend: 'old' }));
    clock.advance(2 * HOUR);
    await record(store, clock, [
      ...times(7, { backend: 'old' }),
      ...times(2, { backend: 'old', usd: null }),
      ...times(3, { backend: 'new' }),
    ]);
    await record(apart, clock, times(4, { backend: 'old', tags: ['migration:compare'] }));
    const bill: Bill = { isKnown: false, why: 'x' };
    const found = await endpointBill({
      ...{ endpoint: 'picture', backends: { old: 'old', new: 'new' }, hours, stores: [store, apart] },
      billOf: () => Promise.resolve(bill),
    });
    expect(found).toMatchObject({
      ...{ endpoint: 'picture', from: '2026-11-24T21:00:00.000Z', to: '2026-11-25T22:00:00.000Z' },
      old: { backend: 'old', jobs: 13, reckonedJobs: 11, bill },
      new: { backend: 'new', jobs: 3, reckonedJobs: 3 },
    });
    assert.ok(Math.abs(found.old.reckonedUsd - 0.011) < 1e-9);
  });
});
