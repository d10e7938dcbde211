/** What shadow jobs cost, looked at all the time: the ledger of the job store must never be above its cap. */
import type { JobStore } from '@ryla/business';
import { spentToday } from '@ryla/migration';

/** A look at the ledger. */
export interface SpendSample {
  readonly endpoint: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly usd: number;
  readonly jobs: number;
}

/** Milliseconds between two looks. */
const LOOK_MS = 500;

/** Looks until it is disposed. */
export function watchSpend(
  store: JobStore,
  endpoints: readonly string[],
): AsyncDisposable & { readonly samples: readonly SpendSample[] } {
  const samples: SpendSample[] = [];
  let running = Promise.resolve();
  const look = async (): Promise<void> => {
    for (const endpoint of endpoints) {
      const at = Date.now();
      samples.push({ endpoint, at, ...(await spentToday(store, endpoint, at)) });
    }
  };
  const timer = setInterval(() => {
    running = running.then(look, look);
    running.catch(() => undefined);
  }, LOOK_MS);
  return {
    samples,
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await running.catch(() => undefined);
    },
  };
}
