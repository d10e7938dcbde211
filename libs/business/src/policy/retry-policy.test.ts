import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ComfyUIServiceError, type ErrorCode, type ErrorContext } from '../errors.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import type { Operation } from './operation.ts';
import { createRetryBudget, RETRY_BUDGET } from './retry-budget.ts';
import { backoff, createRetryPolicy, decideRetry, RETRY_RULES } from './retry-policy.ts';

const NEVER = new AbortController().signal;

function fault(code: ErrorCode, context: ErrorContext = {}): ComfyUIServiceError {
  return new ComfyUIServiceError(code, code, { retryable: true, ...context });
}

const throttled = fault('rate_limited', { accepted: 'no' });

describe('what is retried', () => {
  const cases: readonly [string, unknown, Partial<Record<Operation, boolean>>][] = [
    ['429', throttled, { submit: true, status: true, cancel: true, download: true, health: false }],
    [
      'never sent',
      fault('backend_unreachable', { accepted: 'no' }),
      { submit: true, status: true, cancel: true },
    ],
    [
      'a lost answer',
      fault('backend_unreachable', { accepted: 'unknown' }),
      { submit: false, lookup: true, status: true, cancel: true, download: true },
    ],
    ['a 500 of no known meaning', fault('backend_error'), { submit: false, status: true, cancel: true }],
    ['truncated JSON', fault('invalid_response', { accepted: 'unknown' }), { submit: false, status: true }],
    ['an answer of another shape', new ComfyUIServiceError('invalid_response', 'x'), { status: false }],
    [
      'an open breaker',
      fault('backend_unavailable', { accepted: 'no' }),
      { submit: false, status: false, cancel: true },
    ],
    [
      'a wrong key',
      new ComfyUIServiceError('unauthorized', 'x'),
      { submit: false, status: false, cancel: false },
    ],
    ['a bug', new TypeError('x'), { submit: false, status: false, cancel: false, download: false }],
    ['an abort', new DOMException('stop', 'AbortError'), { submit: false, status: false, download: false }],
    ['the caller’s timeout', new DOMException('late', 'TimeoutError'), { submit: false, status: false }],
  ];
  it.each(cases)('after %s', (_name, error, expected) => {
    for (const [operation, retried] of Object.entries(expected) as [Operation, boolean][]) {
      const made = { attempts: 1, elapsedMs: 0, random: 0 };
      expect([operation, decideRetry(operation, error, made).retry]).toEqual([operation, retried]);
    }
  });

  it('ends with the attempts, the deadline, and a Retry-After of more than a minute', () => {
    const decide = (error: unknown, attempts: number, elapsedMs: number): unknown =>
      decideRetry('status', error, { attempts, elapsedMs, random: 0 });
    expect(decide(throttled, 5, 0)).toEqual({ retry: false, because: 'attempts' });
    expect(decide(throttled, 1, 119_700)).toEqual({ retry: false, because: 'deadline' });
    const asked = (retryAfterMs: number): unknown => decide(fault('rate_limited', { retryAfterMs }), 1, 0);
    expect(asked(60_000)).toEqual({ retry: true, delayMs: 60_000 });
    expect(asked(0)).toEqual({ retry: true, delayMs: 0 });
    expect(asked(60_001)).toEqual({ retry: false, because: 'retry_after_too_long' });
  });

  it('waits longer and longer, up to eight seconds', () => {
    expect([1, 2, 3, 4, 5, 6, 60].map((attempt) => backoff(attempt, 0))).toEqual([
      500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000,
    ]);
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.float({ min: 0, max: 1, noNaN: true }),
        (attempt, random) => {
          const delay = backoff(attempt, random);
          expect(delay).toBeGreaterThanOrEqual(375);
          expect(delay).toBeLessThanOrEqual(8_000);
        },
      ),
    );
  });
});

describe('the retry policy', () => {
  it('sends again until it succeeds, and tells of it', async () => {
    const clock = new ManualClock();
    const delays: number[] = [];
    const policy = createRetryPolicy({ clock, onRetry: ({ delayMs }) => delays.push(delayMs) });
    const call = (_signal: AbortSignal, attempt: number): Promise<string> =>
      attempt < 4 ? Promise.reject(throttled) : Promise.resolve('taken');
    expect(await clock.until(policy.run('submit', call, NEVER))).toBe('taken');
    expect(delays).toHaveLength(3);
    expect(clock.monotonic()).toBeCloseTo(delays.reduce((sum, delay) => sum + delay));
    expect(clock.pending).toBe(0);
  });

  it('stops with the caller’s reason while it waits', async () => {
    const clock = new ManualClock();
    const stop = new AbortController();
    let calls = 0;
    const running = createRetryPolicy({ clock }).run(
      'status',
      () => {
        calls += 1;
        return Promise.reject(throttled);
      },
      stop.signal,
    );
    clock.setTimer(100, () => stop.abort(new Error('enough')));
    await expect(clock.until(running)).rejects.toThrow('enough');
    expect(calls).toBe(1);
  });

  it('gives the caller’s reason for an error that his abort made, whatever it looks like', async () => {
    const stop = new AbortController();
    const running = createRetryPolicy({ clock: new ManualClock() }).run(
      'download',
      () => {
        stop.abort(new Error('enough'));
        return Promise.reject(fault('invalid_input', { retryable: false }));
      },
      stop.signal,
    );
    await expect(running).rejects.toThrow('enough');
  });

  it('ends a call that hangs at the deadline: whether a submission was taken is unknown', async () => {
    const clock = new ManualClock();
    const hangs = (signal: AbortSignal): Promise<never> => clock.sleep(Infinity, signal).then(() => never());
    const running = createRetryPolicy({ clock }).run('submit', hangs, NEVER);
    await expect(clock.until(running)).rejects.toMatchObject({
      code: 'backend_unreachable',
      accepted: 'unknown',
    });
    expect(clock.monotonic()).toBe(RETRY_RULES.submit.deadlineMs);
  });

  it('sends no more than 1.2 times as much in the no-outage case, and little more in an outage', async () => {
    const clock = new ManualClock();
    const policy = createRetryPolicy({ clock, budget: createRetryBudget({ clock }) });
    const sent = async (requests: number, faults: number): Promise<number> => {
      let calls = 0;
      const running = Array.from({ length: requests }, async (_, index) => {
        await clock.sleep(index * 10, NEVER);
        const call = (): Promise<void> => {
          calls += 1;
          return clock.random() < faults ? Promise.reject(throttled) : Promise.resolve();
        };
        await policy.run('status', call, NEVER).catch(() => undefined);
      });
      await clock.until(Promise.all(running));
      return calls / requests;
    };
    expect(await sent(10_000, 0.05)).toBeLessThan(1.06);
    expect(await sent(10_000, 0.15)).toBeLessThanOrEqual(1.2);
    // 10 ms apart: the floor of 1/s adds 1 %.
    expect(await sent(10_000, 1)).toBeLessThan(1.23);
  });
});

describe('the retry budget', () => {
  it('never allows more than its share and its floor, whatever happens when', () => {
    const step = fc.oneof(
      fc.constant('request' as const),
      fc.constant('retry' as const),
      fc.integer({ min: 0, max: 5_000 }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 2_000, size: 'max' }), (steps) => {
        const clock = new ManualClock();
        const budget = createRetryBudget({ clock });
        let requests = 0;
        let retries = 0;
        for (const what of steps) {
          if (typeof what === 'number') clock.advance(what);
          else if (what === 'request') {
            budget.request();
            requests += 1;
          } else if (budget.tryRetry()) retries += 1;
        }
        const { ratio, floorPerSecond, floorBurst } = RETRY_BUDGET;
        const most = ratio * requests + (clock.monotonic() / 1000) * floorPerSecond + floorBurst;
        expect(retries).toBeLessThanOrEqual(most + 1e-6);
      }),
      { numRuns: 200 },
    );
  });

  it('pays for one retry with five requests', () => {
    const clock = new ManualClock();
    const budget = createRetryBudget({ clock, floorBurst: 0, floorPerSecond: 0 });
    for (let request = 0; request < 15; request += 1) budget.request();
    expect([1, 2, 3, 4].map(() => budget.tryRetry())).toEqual([true, true, true, false]);
  });
});

function never(): never {
  throw new Error('unreachable');
}
