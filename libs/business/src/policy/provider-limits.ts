import type { RateLimits } from './rate-limiter.ts';

/** RunPod, per endpoint (docs read 2026-11-24; source: docs/backends.md). What it does not limit is not here. */
export const RUNPOD_RATE_LIMITS: RateLimits = {
  operations: {
    submit: { requests: 1_000, perMs: 10_000, concurrent: 200, counted: 'answered' },
    status: { requests: 2_000, perMs: 10_000, concurrent: 400 },
    events: { requests: 2_000, perMs: 10_000, concurrent: 400 },
    cancel: { requests: 100, perMs: 10_000, concurrent: 20 },
  },
};

/** Modal: 200 web requests a second for a new account, whatever they ask (docs read 2026-11-24). */
export const MODAL_RATE_LIMITS: RateLimits = { shared: { requests: 200, perMs: 1_000 } };
