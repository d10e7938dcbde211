/** What shadow jobs may cost in a day, kept in the job store: no number of instances together can go over it. */
import type { JobStore, JsonValue } from '@ryla/business';
import { z } from 'zod';

const DAY_MS = 24 * 60 * 60 * 1_000;

const ledger = z.object({
  /** Day (UTC), `YYYY-MM-DD`. */
  day: z.string(),
  /** Billionths of a US dollar: what ended jobs cost, and what those under way may cost at most. */
  nanoUsd: z.int(),
  jobs: z.int(),
});

type Ledger = z.infer<typeof ledger>;

/** What was spent on shadow jobs today. */
export interface SpentToday {
  /** US dollars; jobs under way count with the most that they may cost. */
  readonly usd: number;
  readonly jobs: number;
}

/** Part of the job store that holds the ledger. */
export type LedgerStore = Pick<JobStore, 'getState' | 'setState'>;

/** What was spent on shadow jobs of an endpoint today. */
export async function spentToday(store: LedgerStore, endpoint: string, now: number): Promise<SpentToday> {
  const { nanoUsd, jobs } = onDay(read((await store.getState(keyOf(endpoint)))?.value), dayOf(now));
  return { usd: nanoUsd / 1e9, jobs };
}

/** Money for one shadow job. */
export interface ShadowMoney {
  /** Puts what the job really cost in place of what was set aside; US dollars. */
  settle(usd: number): Promise<void>;
}

/** Sets money aside for a shadow job; undefined when the day's money does not suffice. */
export async function setAside(
  store: LedgerStore,
  endpoint: string,
  {
    atMostUsd,
    usdPerDay,
    now,
  }: { readonly atMostUsd: number; readonly usdPerDay: number; readonly now: number },
): Promise<ShadowMoney | undefined> {
  const day = dayOf(now);
  const reserved = Math.ceil(atMostUsd * 1e9);
  const isReserved = await change(store, endpoint, (stored) => {
    const today = onDay(stored, day);
    const nanoUsd = today.nanoUsd + reserved;
    return nanoUsd > usdPerDay * 1e9 ? undefined : { day, nanoUsd, jobs: today.jobs + 1 };
  });
  if (!isReserved) return undefined;
  let settled = false;
  return {
    async settle(usd) {
      if (settled) return;
      settled = true;
      // A job that ends on another day is paid by the day that began it.
      await change(store, endpoint, (stored) =>
        stored.day === day
          ? { ...stored, nanoUsd: stored.nanoUsd - reserved + Math.ceil(usd * 1e9) }
          : undefined,
      );
    },
  };
}

async function change(
  store: LedgerStore,
  endpoint: string,
  next: (ledger: Ledger) => Ledger | undefined,
): Promise<boolean> {
  for (;;) {
    const entry = await store.getState(keyOf(endpoint));
    const wanted = next(read(entry?.value));
    if (wanted === undefined) return false;
    const { applied } = await store.setState(keyOf(endpoint), wanted, entry?.version ?? 0);
    if (applied) return true;
  }
}

function read(value: JsonValue | undefined): Ledger {
  const result = ledger.safeParse(value);
  return result.success ? result.data : { day: '', nanoUsd: 0, jobs: 0 };
}

function onDay(stored: Ledger, day: string): Ledger {
  return stored.day === day ? stored : { day, nanoUsd: 0, jobs: 0 };
}

function dayOf(now: number): string {
  return new Date(Math.floor(now / DAY_MS) * DAY_MS).toISOString().slice(0, 10);
}

function keyOf(endpoint: string): string {
  return `migration/shadow/${endpoint}`;
}
