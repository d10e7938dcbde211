import { randomUUID } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { memoryJobStore } from '../store/memory-job-store.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { costOf, dearestCostOf, MODAL_PRICES, parsePriceTable, RUNPOD_PRICES } from './costs.ts';
import { createSpendLimit, spentIn } from './spend-limit.ts';

describe('what a job costs', () => {
  it('is its seconds on the card that ran it, start included, by a dated table', () => {
    const usage = { gpu: 'NVIDIA L40S', executionMs: 10_000, coldStartMs: 5_000 };
    expect(costOf(MODAL_PRICES, usage)).toEqual({
      usd: 0.00813,
      estimated: false,
      gpu: 'L40S',
      pricesOf: '2026-11-24',
    });
    expect(costOf(RUNPOD_PRICES, usage)?.usd).toBe(0.00795);
    expect(costOf(RUNPOD_PRICES, { gpu: 'NVIDIA GeForce RTX 4090', executionMs: 1_000 })?.usd).toBe(0.00031);
  });

  // As NVIDIA's drivers name them: what a worker tells of its card.
  it.each([
    ['Tesla T4', 'T4'],
    ['NVIDIA L4', 'L4'],
    ['NVIDIA A10', 'A10'],
    ['NVIDIA A10G', 'A10'],
    ['NVIDIA L40S', 'L40S'],
    ['NVIDIA A100-SXM4-40GB', 'A100-40GB'],
    ['NVIDIA A100-SXM4-80GB', 'A100-80GB'],
    ['NVIDIA A100 80GB PCIe', 'A100-80GB'],
    ['NVIDIA H100 80GB HBM3', 'H100'],
    ['NVIDIA H200', 'H200'],
    ['NVIDIA B200', 'B200'],
  ])('finds %s in the table', (driver, gpu) => {
    expect(costOf(MODAL_PRICES, { gpu: driver, executionMs: 1 })?.gpu).toBe(gpu);
  });

  it('counts cards, cores, memory and factors', () => {
    const usage = { gpu: 'H100', gpuCount: 2, executionMs: 1_000, cpuCores: 4, memoryGib: 32, multiplier: 3 };
    const perSecond = 2 * 0.001097 + 4 * 0.0000131 + 32 * 0.00000222;
    expect(costOf(MODAL_PRICES, usage)?.usd).toBeCloseTo(3 * perSecond, 9);
  });

  it('is unknown for a card that the table does not have', () => {
    expect(costOf(MODAL_PRICES, { gpu: 'RTX 4090', executionMs: 1 })).toBeUndefined();
  });

  it('is at most that of the dearest card of the provider', () => {
    expect(dearestCostOf(RUNPOD_PRICES, { executionMs: 1_000 })).toEqual({
      usd: 0.00116,
      estimated: false,
      gpu: null,
      pricesOf: '2026-11-24',
    });
    expect(dearestCostOf({ ...RUNPOD_PRICES, gpus: [] }, { executionMs: 1_000 })).toBeUndefined();
  });

  it('goes by the account’s own table where there is one, and a wrong one is refused', () => {
    const own = parsePriceTable({ ...MODAL_PRICES, coldStartBilled: false, date: '2027-01-01' });
    const cost = costOf(own, { gpu: 'T4', executionMs: 1_000, coldStartMs: 60_000, estimated: true });
    expect(cost).toEqual({ usd: 0.000164, estimated: true, gpu: 'T4', pricesOf: '2027-01-01' });
    for (const wrong of [
      { ...MODAL_PRICES, date: 'today' },
      { ...MODAL_PRICES, gpus: [{ name: 'T4', perSecond: -1 }] },
    ])
      expect(() => parsePriceTable(wrong)).toThrow(
        expect.objectContaining({ code: 'invalid_configuration' }),
      );
  });
});

describe('the daily spend limit', () => {
  it('refuses what would go over it, jobs that are being submitted included, until the next day', async () => {
    const clock = new ManualClock({ now: Date.UTC(2026, 10, 24, 18) });
    await using store = memoryJobStore({ clock });
    const limit = createSpendLimit({ clock, usdPerDay: { grey: 1 }, spent: spentIn(store) });
    const stored = async (usd: number, estimated: boolean): Promise<void> => {
      const cost = { usd, estimated, gpu: 'L40S', pricesOf: '2026-11-24' };
      await store.create({ id: randomUUID(), endpoint: 'grey', backend: 'b', payloadHash: 'h', cost });
    };
    await stored(0.25, false);
    const held = await limit.reserve('grey', 0.25);
    await stored(0.25, true);
    held.release();
    held.release();
    const [first, second] = await Promise.allSettled([
      limit.reserve('grey', 0.4),
      limit.reserve('grey', 0.4),
    ]);
    // Two times 0.40 is too much beside 0.50: the first goes, although nothing of it is stored yet.
    expect([first.status, second.status]).toEqual(['fulfilled', 'rejected']);
    if (first.status === 'fulfilled') first.value.release();
    await expect(limit.reserve('grey', 0.6)).rejects.toMatchObject({
      code: 'spend_limit_reached',
      endpoint: 'grey',
      accepted: 'no',
      retryable: false,
      retryAfterMs: 6 * 3_600_000,
    });
    await limit.reserve('other', 1_000);
    await limit.reserve('constructor', 1_000);
    clock.advance(6 * 3_600_000);
    const next = await limit.reserve('grey', 0.5);
    next.release();
    await expect(limit.reserve('grey', 1)).resolves.toBeDefined();
  });
});
