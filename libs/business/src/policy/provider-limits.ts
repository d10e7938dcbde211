import type { RateLimits } from './rate-limiter.ts';

/**
 * Part of RunPod's submissions that is kept in hand: on a busy machine requests are delayed differently on their way, and
 * 43 of 10,000 that left in time arrived too early. Looks need the whole of their limit and may be refused without harm.
 */
const SUBMIT_RESERVE = 0.02;

/** RunPod, per endpoint (docs read 2026-11-24; source: docs/backends.md). What it does not limit is not here. */
export const RUNPOD_RATE_LIMITS: RateLimits = {
  operations: {
    submit: { requests: 1_000 * (1 - SUBMIT_RESERVE), perMs: 10_000, concurrent: 200 },
    status: { requests: 2_000, perMs: 10_000, concurrent: 400 },
    events: { requests: 2_000, perMs: 10_000, concurrent: 400 },
    cancel: { requests: 100, perMs: 10_000, concurrent: 20 },
  },
};

/** Modal: 200 web requests a second for a new account, whatever they ask (docs read 2026-11-24). */
export const MODAL_RATE_LIMITS: RateLimits = { shared: { requests: 200, perMs: 1_000 } };
