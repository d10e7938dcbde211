import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { ComfyUIServiceError, type ErrorCode } from '../errors.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { BREAKER, type BreakerState, createCircuitBreaker } from './circuit-breaker.ts';

function fails(code: ErrorCode, retryable = true): () => Promise<never> {
  return () => Promise.reject(new ComfyUIServiceError(code, code, { retryable }));
}
const down = fails('backend_unreachable');
const works = (): Promise<string> => Promise.resolve('well');

async function times(count: number, call: () => Promise<unknown>): Promise<void> {
  for (let time = 0; time < count; time += 1) await call().catch(() => undefined);
}

describe('the circuit breaker', () => {
  it('opens after five failures in a row, says when it tries again, and closes after a probe', async () => {
    const clock = new ManualClock();
    const states: BreakerState[] = [];
    const breaker = createCircuitBreaker({ clock, backend: 'pod', onChange: (state) => states.push(state) });
    await times(4, () => breaker.run(down));
    expect(await breaker.run(works)).toBe('well');
    await times(5, () => breaker.run(down));
    expect(breaker.state).toBe('open');
    const refused: unknown = await breaker.run(works).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 'backend_unavailable',
      backend: 'pod',
      retryable: true,
      accepted: 'no',
      retryAfterMs: breaker.retryInMs,
    });
    clock.advance(breaker.retryInMs);
    expect(await breaker.run(works)).toBe('well');
    expect(states).toEqual(['open', 'half-open', 'closed']);
  });

  it('lets one probe through at a time, and waits longer after each that fails', async () => {
    const clock = new ManualClock();
    const breaker = createCircuitBreaker({ clock, backend: 'pod' });
    await times(5, () => breaker.run(down));
    const opened: number[] = [];
    for (let probe = 0; probe < 8; probe += 1) {
      opened.push(breaker.retryInMs);
      clock.advance(breaker.retryInMs);
      let calls = 0;
      const slow = async (): Promise<void> => {
        calls += 1;
        await clock.sleep(10, new AbortController().signal);
        await down();
      };
      const together = [1, 2, 3].map(() => breaker.run(slow));
      await clock.until(Promise.allSettled(together));
      expect(calls).toBe(1);
    }
    expect(opened[1]).toBeGreaterThan((opened[0] ?? 0) * 1.5);
    expect(Math.max(...opened)).toBeLessThanOrEqual(BREAKER.longestOpenMs * 1.2);
  });

  it('does not count what the caller did wrong, what was throttled, or what nobody waited for', async () => {
    const clock = new ManualClock();
    const breaker = createCircuitBreaker({ clock, backend: 'pod' });
    for (const [code, retryable] of [
      ['invalid_input', false],
      ['unauthorized', false],
      ['job_not_found', false],
      ['rate_limited', true],
      ['aborted', false],
    ] as const)
      await times(20, () => breaker.run(fails(code, retryable)));
    await times(20, () => breaker.run(() => Promise.reject(new DOMException('late', 'TimeoutError'))));
    expect(breaker.state).toBe('closed');
    // Aborts say nothing: neither do they end a row of failures.
    for (let time = 0; time < 5; time += 1) {
      await times(1, () => breaker.run(down));
      await times(1, () => breaker.run(fails('aborted', false)));
    }
    expect(breaker.state).toBe('open');
  });

  it('believes no answer to a call that was made before it opened, and frees an aborted probe’s place', async () => {
    const clock = new ManualClock();
    const breaker = createCircuitBreaker({ clock, backend: 'pod' });
    const late = Promise.withResolvers<string>();
    const old = breaker.run(() => late.promise);
    await times(5, () => breaker.run(down));
    late.resolve('from before');
    expect(await old).toBe('from before');
    expect(breaker.state).toBe('open');
    clock.advance(breaker.retryInMs);
    await times(1, () => breaker.run(() => Promise.reject(new DOMException('stop', 'AbortError'))));
    expect(await breaker.run(works)).toBe('well');
    expect(breaker.state).toBe('closed');
  });

  it('does not take an old failure for the probe’s', async () => {
    const clock = new ManualClock();
    const breaker = createCircuitBreaker({ clock, backend: 'pod' });
    const [old, probe] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()];
    const late = breaker.run(() => old.promise);
    await times(5, () => breaker.run(down));
    clock.advance(breaker.retryInMs);
    const probing = breaker.run(() => probe.promise);
    old.reject(new ComfyUIServiceError('backend_unreachable', 'from before', { retryable: true }));
    await expect(late).rejects.toThrow('from before');
    expect(breaker.state).toBe('half-open');
    await expect(breaker.run(works)).rejects.toMatchObject({ code: 'backend_unavailable' });
    probe.resolve('well');
    await probing;
    expect(breaker.state).toBe('closed');
  });

  it('is open exactly when the last five answers were failures and its time is not up', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 60 }), async (answers) => {
        const breaker = createCircuitBreaker({ clock: new ManualClock(), backend: 'pod' });
        let row = 0;
        for (const answer of answers) {
          await breaker.run<unknown>(answer ? works : down).catch(() => undefined);
          row = row >= 5 ? row : answer ? 0 : row + 1;
          expect(breaker.state).toBe(row >= 5 ? 'open' : 'closed');
        }
      }),
    );
  });
});
