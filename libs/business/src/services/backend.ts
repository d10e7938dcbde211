import { randomUUID } from 'node:crypto';

import type { Adapter, AdapterEvent, BackendHealth, ProviderRef } from '../adapter.ts';
import { ComfyUIServiceError } from '../errors.ts';
import type { JobSnapshot, JobSubmission } from '../job.ts';
import { type BreakerState, createCircuitBreaker } from '../policy/circuit-breaker.ts';
import type { ExecutionHistory } from '../policy/execution-history.ts';
import type { Operation } from '../policy/operation.ts';
import { PollScheduler } from '../policy/poll-scheduler.ts';
import { createRateLimiter } from '../policy/rate-limiter.ts';
import { createRetryBudget } from '../policy/retry-budget.ts';
import { createRetryPolicy } from '../policy/retry-policy.ts';
import type { Clock } from '../clock.ts';

/** How a backend does, as the service sees it. */
export interface BackendState {
  readonly breaker: BreakerState;
  /** Milliseconds until it is tried again; 0 when calls may go through. */
  readonly retryInMs: number;
  /** Jobs of this service that it has. */
  readonly inFlight: number;
}

/**
 * An adapter under the policy: rate limits, circuit breaker, retries with one budget, one scheduler for all looks at
 * its jobs.
 */
export interface Backend {
  readonly name: string;
  readonly adapter: Adapter;
  readonly scheduler: PollScheduler;
  readonly state: BackendState;
  /** Sends a job that was surely never sent. Repeats only what was surely not taken. */
  submit(job: JobSubmission, signal: AbortSignal): Promise<ProviderRef>;
  /** Finds out what became of a submission whose answer was lost; see {@link Recovered}. */
  recover(job: JobSubmission | undefined, jobId: string, signal: AbortSignal): Promise<Recovered>;
  status(ref: ProviderRef, signal: AbortSignal): Promise<JobSnapshot>;
  /** Asks once, for the scheduler, which has the rate limit and the patience. */
  look(ref: ProviderRef, signal: AbortSignal): Promise<JobSnapshot>;
  cancel(ref: ProviderRef, signal: AbortSignal): Promise<void>;
  /** One event stream; undefined where the backend has none. */
  events(ref: ProviderRef, signal: AbortSignal): AsyncIterable<AdapterEvent> | undefined;
  health(signal: AbortSignal): Promise<BackendHealth | undefined>;
  close(reason: Error): Promise<void>;
}

/** What is known of a submission whose answer was lost. */
export type Recovered =
  /** The backend has it. */
  | { readonly found: 'yes'; readonly ref: ProviderRef }
  /** It surely has not: it may be sent again. */
  | { readonly found: 'no' }
  /** Nobody can tell. */
  | { readonly found: 'unknown' };

/** What a backend is made of. */
export interface BackendOptions {
  readonly name: string;
  readonly adapter: Adapter;
  readonly clock: Clock;
  readonly history: ExecutionHistory;
  readonly onRetry?: (operation: Operation) => void;
}

/** Puts an adapter under the policy. */
export function createBackend({ name, adapter, clock, history, onRetry }: BackendOptions): Backend {
  const limiter =
    adapter.limits === undefined ? undefined : createRateLimiter({ clock, limits: adapter.limits });
  const breaker = createCircuitBreaker({ clock, backend: name });
  const budget = createRetryBudget({ clock });
  const retries = createRetryPolicy({
    clock,
    budget,
    ...(onRetry === undefined ? {} : { onRetry: ({ operation }) => onRetry(operation) }),
  });
  const scheduler = new PollScheduler(clock, {
    history: (workflow) => history.quantiles(workflow),
    ...(limiter === undefined ? {} : { limiter }),
    ...(adapter.retentionMs === undefined ? {} : { retentionMs: adapter.retentionMs }),
  });

  function call<T>(
    operation: Operation,
    work: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    return retries.run(
      operation,
      (limited) => {
        const guarded = (): Promise<T> => breaker.run(() => work(limited));
        return limiter === undefined ? guarded() : limiter.run(operation, guarded, limited);
      },
      signal,
    );
  }

  return {
    name,
    adapter,
    scheduler,
    get state() {
      return { breaker: breaker.state, retryInMs: breaker.retryInMs, inFlight: scheduler.size };
    },
    submit: (job, signal) => call('submit', (limited) => adapter.submit(job, { signal: limited }), signal),
    async recover(job, jobId, signal) {
      if (adapter.lookup !== undefined) {
        const lookup = adapter.lookup.bind(adapter);
        const ref = await call('lookup', (limited) => lookup(jobId, { signal: limited }), signal);
        return ref === undefined ? { found: 'no' } : { found: 'yes', ref };
      }
      if (adapter.resubmit !== undefined && job !== undefined) {
        const resubmit = adapter.resubmit.bind(adapter);
        // Any answer will do, however often it is sent: the workers run the id once.
        const ref = await call(
          'lookup',
          (limited) => resubmit({ ...job, jobId }, { signal: limited }),
          signal,
        );
        return { found: 'yes', ref };
      }
      return { found: 'unknown' };
    },
    status: (ref, signal) => call('status', (limited) => adapter.status(ref, { signal: limited }), signal),
    look: (ref, signal) => breaker.run(() => adapter.status(ref, { signal })),
    cancel: (ref, signal) => call('cancel', (limited) => adapter.cancel(ref, { signal: limited }), signal),
    events: (ref, signal) => adapter.events?.(ref, { signal }),
    async health(signal) {
      if (adapter.health !== undefined) return adapter.health({ signal });
      // Any answer shows that it is there and that the credentials are right.
      try {
        await adapter.status({ id: randomUUID() }, { signal });
      } catch (error) {
        if (!(ComfyUIServiceError.isInstance(error) && error.code === 'job_not_found')) throw error;
      }
      return undefined;
    },
    async close(reason) {
      scheduler.stop(reason);
      limiter?.close(reason);
      await adapter.close();
    },
  };
}
