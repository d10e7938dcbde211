import { ComfyUIServiceError } from '../errors.ts';
import type { Clock } from '../clock.ts';
import { spentSince } from '../store/change-job.ts';
import type { JobStore } from '../store/job-store.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

/** Options of {@link createSpendLimit}. */
export interface SpendLimitOptions {
  readonly clock: Pick<Clock, 'now'>;
  /** US dollars a day (UTC) by endpoint; endpoints that are absent are not limited. */
  readonly usdPerDay: Readonly<Record<string, number>>;
  /** US dollars of an endpoint's jobs created since a moment, estimates included; see {@link spentIn}. */
  readonly spent: (endpoint: string, since: number) => Promise<number>;
}

/** Money that is set aside for a job that is about to be stored. */
export interface Reservation {
  /** Call it once the job is stored with its estimated cost, or will not be. Again does nothing. */
  release(): void;
}

/** Refuses jobs that would spend more in a day than their endpoint may. */
export interface SpendLimit {
  /**
   * Sets aside what a job is expected to cost. Jobs that are submitted at the same time count for those after them; those of other
   * services on the same store only once they are stored, so that these can go over the limit by what they submit within
   * that moment.
   *
   * @throws {ComfyUIServiceError} `spend_limit_reached`, with `retryAfterMs` until the next day (UTC) begins.
   */
  reserve(endpoint: string, estimateUsd: number): Promise<Reservation>;
}

/** Makes the limits of a service. */
export function createSpendLimit({ clock, usdPerDay, spent }: SpendLimitOptions): SpendLimit {
  const pending = new Map<string, number>();

  function setAside(endpoint: string, usd: number): void {
    pending.set(endpoint, (pending.get(endpoint) ?? 0) + usd);
  }

  return {
    async reserve(endpoint, estimateUsd) {
      const limit = Object.hasOwn(usdPerDay, endpoint) ? usdPerDay[endpoint] : undefined;
      if (limit === undefined) return { release: () => undefined };
      // Those that came first: one of them that is stored meanwhile counts twice for this moment, which is safe.
      const ahead = pending.get(endpoint) ?? 0;
      setAside(endpoint, estimateUsd);
      let held = true;
      const release = (): void => {
        if (held) setAside(endpoint, -estimateUsd);
        held = false;
      };
      try {
        const now = clock.now();
        const total = (await spent(endpoint, startOfDay(now))) + ahead + estimateUsd;
        // Sums of fractions may differ by far less than a billionth of a dollar.
        if (total > limit + 1e-9) throw limitReached(endpoint, limit, total, now);
      } catch (error) {
        release();
        throw error;
      }
      return { release };
    },
  };
}

/** What a store's jobs have cost, in the form that {@link SpendLimitOptions.spent} has. */
export function spentIn(store: Pick<JobStore, 'costs'>): SpendLimitOptions['spent'] {
  return (endpoint, since) => spentSince(store, endpoint, since);
}

function startOfDay(now: number): number {
  return Math.floor(now / DAY_MS) * DAY_MS;
}

function limitReached(endpoint: string, limit: number, total: number, now: number): ComfyUIServiceError {
  const resetsAt = startOfDay(now) + DAY_MS;
  return new ComfyUIServiceError(
    'spend_limit_reached',
    `Endpoint ${endpoint} may spend $${limit.toFixed(2)} a day; with this job it would be $${total.toFixed(4)}.`,
    {
      endpoint,
      details: { limitUsd: limit, wouldBeUsd: total, resetsAt: new Date(resetsAt).toISOString() },
      retryAfterMs: resetsAt - now,
      accepted: 'no',
      hint: 'Wait for the next day (UTC), or raise the limit of this endpoint in the configuration.',
    },
  );
}
