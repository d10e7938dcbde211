import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ComfyUIServiceError } from '../errors.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import type { Operation } from './operation.ts';
import { MODAL_RATE_LIMITS, RUNPOD_RATE_LIMITS } from './provider-limits.ts';
import { createRateLimiter } from './rate-limiter.ts';
import type { RateLimit } from './request-window.ts';

const NEVER = new AbortController().signal;

/** Whether these moments keep to a limit over every stretch of time. */
function keeps({ requests, perMs }: RateLimit, moments: readonly number[]): boolean {
  const sorted = moments.toSorted((a, b) => a - b);
  return sorted.every((at, index) => (sorted[index + requests] ?? Infinity) - at >= perMs);
}

describe('the rate limiter', () => {
  it('keeps every stretch of time and the concurrency within the limit, and makes use of it', async () => {
    const limit = { requests: 10, perMs: 1_000, concurrent: 4 };
    const call = fc.record({ at: fc.nat(5_000), takes: fc.nat(2_000), way: fc.nat(10) });
    await fc.assert(
      fc.asyncProperty(fc.array(call, { maxLength: 120 }), async (calls) => {
        const clock = new ManualClock();
        const limiter = createRateLimiter({ clock, limits: { operations: { status: limit } } });
        const arrived: number[] = [];
        let running = 0;
        let most = 0;
        const made = calls.map(async ({ at, takes, way }) => {
          await clock.sleep(at, NEVER);
          await limiter.run(
            'status',
            async () => {
              running += 1;
              most = Math.max(most, running);
              arrived.push(clock.monotonic() + way);
              await clock.sleep(way + takes, NEVER);
              running -= 1;
            },
            NEVER,
          );
        });
        await clock.until(Promise.all(made));
        expect(keeps(limit, arrived)).toBe(true);
        expect(most).toBeLessThanOrEqual(4);
        expect(limiter.waiting).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('lets the whole of RunPod’s published rate through', async () => {
    const clock = new ManualClock();
    const limiter = createRateLimiter({ clock, limits: RUNPOD_RATE_LIMITS });
    const sent: number[] = [];
    const note = (): Promise<void> => {
      sent.push(clock.monotonic());
      return Promise.resolve();
    };
    await clock.until(Promise.all(Array.from({ length: 4_000 }, () => limiter.run('status', note, NEVER))));
    expect(keeps({ requests: 2_000, perMs: 10_000 }, sent)).toBe(true);
    expect(clock.monotonic()).toBeLessThan(10_100);
  });

  it('serves first those who came first', async () => {
    const clock = new ManualClock();
    const limits = { operations: { status: { requests: 2, perMs: 100 } } };
    const limiter = createRateLimiter({ clock, limits });
    const order: number[] = [];
    const leave = new AbortController();
    const waiting = Array.from({ length: 9 }, async (_, index) => {
      const signal = index === 5 ? leave.signal : NEVER;
      await limiter.run('status', () => Promise.resolve(order.push(index)), signal);
    });
    leave.abort(new Error('gone'));
    await clock.until(Promise.allSettled(waiting));
    expect(order).toEqual([0, 1, 2, 3, 4, 6, 7, 8]);
    await expect(waiting[5]).rejects.toThrow('gone');
  });

  it('keeps a reserve for submissions, which no polling uses', async () => {
    const clock = new ManualClock();
    const limiter = createRateLimiter({ clock, limits: MODAL_RATE_LIMITS });
    const sent: Record<'submit' | 'status', number[]> = { submit: [], status: [] };
    const send = (operation: 'submit' | 'status') => (): Promise<void> => {
      sent[operation].push(clock.monotonic());
      return Promise.resolve();
    };
    const polls = Array.from({ length: 1_000 }, () => limiter.run('status', send('status'), NEVER));
    const submits = Array.from({ length: 40 }, () => limiter.run('submit', send('submit'), NEVER));
    await clock.until(Promise.all([...polls, ...submits]));
    expect(sent.submit.every((at) => at === 0)).toBe(true);
    expect(sent.status.filter((at) => at === 0)).toHaveLength(160);
    expect(keeps({ requests: 200, perMs: 1_000 }, [...sent.submit, ...sent.status])).toBe(true);
  });

  it('lets those who can wait fill no more than their share', () => {
    const clock = new ManualClock();
    const limits = { operations: { status: { requests: 10, perMs: 1_000, concurrent: 8 } } };
    const limiter = createRateLimiter({ clock, limits });
    const attempts = (count: number, share: number): number =>
      Array.from({ length: count }, () => limiter.tryAcquire('status', share)).filter(
        ({ granted }) => granted,
      ).length;
    expect(attempts(10, 0.5)).toBe(5);
    expect(limiter.tryAcquire('status', 0.5)).toEqual({ granted: false, retryInMs: 1_010 });
    expect(attempts(10, 1)).toBe(3);
  });

  it('lets nobody past those who wait, even before their timer has run', async () => {
    const clock = new ManualClock();
    const limits = { operations: { status: { requests: 1, perMs: 1_000 } } };
    const limiter = createRateLimiter({ clock, limits });
    await limiter.acquire('status', NEVER);
    clock.advance(0.5);
    // Timers count whole milliseconds: this one runs half a millisecond after the place is free.
    const waiting = limiter.acquire('status', NEVER);
    clock.advance(1_009.6);
    expect(limiter.tryAcquire('status')).toMatchObject({ granted: false });
    clock.advance(1);
    await waiting;
  });

  it('sends less after 429, nothing before Retry-After, and the whole again after half a minute', async () => {
    const clock = new ManualClock();
    const limiter = createRateLimiter({ clock, limits: RUNPOD_RATE_LIMITS });
    const whole = limiter.rate('status');
    const refuse = (): Promise<never> =>
      Promise.reject(new ComfyUIServiceError('rate_limited', '429', { retryAfterMs: 7_000 }));
    const refused = Array.from({ length: 50 }, () => limiter.run('status', refuse, NEVER));
    await clock.until(Promise.allSettled(refused));
    // Fifty refusals at once are one reason to slow down.
    expect(limiter.rate('status') / whole).toBeCloseTo(0.7);
    const permit = await clock.until(limiter.acquire('status', NEVER));
    expect(clock.monotonic()).toBeGreaterThanOrEqual(7_000);
    permit.throttled();
    permit.release();
    expect(limiter.rate('status') / whole).toBeCloseTo(0.77 * 0.7);
    expect(limiter.rate('submit')).toBe(limiter.rate('submit'));
    await clock.pass(50_000);
    expect(limiter.rate('status')).toBe(whole);
  });

  it('has no limit where none is known, and ends the waits when it is closed', async () => {
    const clock = new ManualClock();
    const limiter = createRateLimiter({
      clock,
      limits: { operations: { cancel: { requests: 1, perMs: 1_000 } } },
    });
    expect(limiter.rate('download')).toBe(Infinity);
    const operations: readonly Operation[] = ['download', 'cancel'];
    await Promise.all(operations.map((operation) => limiter.acquire(operation, NEVER)));
    const waiting = limiter.acquire('cancel', NEVER);
    limiter.close(new Error('closed'));
    await expect(waiting).rejects.toThrow('closed');
    await expect(limiter.acquire('download', NEVER)).rejects.toThrow('closed');
    expect(clock.pending).toBe(0);
  });

  it('counts a request until its answer where the limit says so', async () => {
    const clock = new ManualClock();
    const limit = { requests: 2, perMs: 1_000, counted: 'answered' } as const;
    const limiter = createRateLimiter({ clock, limits: { operations: { submit: limit } }, jitterMs: 0 });
    const { signal } = new AbortController();
    const [first, second] = await Promise.all([
      limiter.acquire('submit', signal),
      limiter.acquire('submit', signal),
    ]);
    let granted = false;
    const third = limiter.acquire('submit', signal).then((permit) => {
      granted = true;
      return permit;
    });
    await clock.pass(5_000);
    expect(granted).toBe(false);
    first.release();
    await clock.pass(999);
    expect(granted).toBe(false);
    await clock.pass(1);
    expect(granted).toBe(true);
    second.release();
    (await third).release();
  });
});
