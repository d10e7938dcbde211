/** What shadow jobs may cost in a day, kept in the job store: no number of instances together can go over it. */
import { randomUUID } from 'node:crypto';

import type { JobStore, JsonValue } from '@ryla/business';
import { z } from 'zod';

const DAY_MS = 24 * 60 * 60 * 1_000;

const openShadow = z.object({
  /** Id of the shadow job, and of the real one. */
  id: z.string(),
  of: z.string(),
  /** Milliseconds since 1970. */
  at: z.number(),
  /** Day that pays it. */
  day: z.string(),
  /** What is set aside; null once it is settled, and only its outputs are to be judged. */
  nanoUsd: z.int().nullable(),
});

/** A shadow job of which not everything is seen to yet, by whichever process. */
export type OpenShadow = z.infer<typeof openShadow>;

const ledger = z.object({
  /** Day (UTC), `YYYY-MM-DD`. */
  day: z.string(),
  /** Billionths of a US dollar: what ended jobs cost, and what those under way may cost at most. */
  nanoUsd: z.int(),
  jobs: z.int(),
  /** The oldest first. Processes end; what they began is seen to by others. */
  open: z.array(openShadow).default([]),
});

/** Shadow jobs that are remembered as open; older ones keep what was set aside for them. */
const OPEN_AT_MOST = 1_000;

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
  /** Puts what the job really cost in place of what was set aside; US dollars. Once, whoever calls it. */
  settle(usd: number): Promise<void>;
}

/** What a shadow job may cost, and which it is. */
export interface ShadowReservation {
  /** US dollars. */
  readonly atMostUsd: number;
  readonly usdPerDay: number;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Ids of the shadow job and of the real one. */
  readonly job?: { readonly id: string; readonly of: string };
}

/** Sets money aside for a shadow job; undefined when the day's money does not suffice. */
export async function setAside(
  store: LedgerStore,
  endpoint: string,
  { atMostUsd, usdPerDay, now, job = { id: randomUUID(), of: '' } }: ShadowReservation,
): Promise<ShadowMoney | undefined> {
  const day = dayOf(now);
  const reserved = Math.ceil(atMostUsd * 1e9);
  const isReserved = await change(store, endpoint, (stored) => {
    const today = onDay(stored, day);
    const nanoUsd = today.nanoUsd + reserved;
    if (nanoUsd > usdPerDay * 1e9) return undefined;
    const open = [...today.open, { ...job, at: now, day, nanoUsd: reserved }].slice(-OPEN_AT_MOST);
    return { day, nanoUsd, jobs: today.jobs + 1, open };
  });
  if (!isReserved) return undefined;
  return {
    async settle(usd) {
      await closeShadow(store, endpoint, job.id, { usd });
    },
  };
}

/**
 * Settles an open shadow job, and takes it from the list unless its outputs are still to be judged. Nothing when another process has
 * done so.
 *
 * @param usd what it cost; what was set aside stays spent without it.
 */
export async function closeShadow(
  store: LedgerStore,
  endpoint: string,
  id: string,
  { usd, isToBeJudged = false }: { readonly usd?: number | undefined; readonly isToBeJudged?: boolean },
): Promise<void> {
  await change(store, endpoint, (stored) => {
    const entry = stored.open.find((one) => one.id === id);
    if (entry === undefined || (isToBeJudged && entry.nanoUsd === null)) return undefined;
    // A job that ends on another day is paid by the day that began it.
    const back =
      usd === undefined || entry.nanoUsd === null || entry.day !== stored.day
        ? 0
        : entry.nanoUsd - Math.ceil(usd * 1e9);
    const open = isToBeJudged
      ? stored.open.map((one) => (one.id === id ? { ...one, nanoUsd: null } : one))
      : stored.open.filter((one) => one.id !== id);
    return { ...stored, nanoUsd: stored.nanoUsd - back, open };
  });
}

/** Open shadow jobs of all endpoints. */
export async function openShadows(
  store: Pick<JobStore, 'listState'>,
): Promise<readonly (OpenShadow & { readonly endpoint: string })[]> {
  const entries = await store.listState(PREFIX);
  return entries.flatMap(({ key, value }) =>
    read(value).open.map((one) => ({ ...one, endpoint: key.slice(PREFIX.length) })),
  );
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
    const value: JsonValue = { ...wanted, open: wanted.open.map((one) => ({ ...one })) };
    const { applied } = await store.setState(keyOf(endpoint), value, entry?.version ?? 0);
    if (applied) return true;
  }
}

function read(value: JsonValue | undefined): Ledger {
  const result = ledger.safeParse(value);
  return result.success ? result.data : { day: '', nanoUsd: 0, jobs: 0, open: [] };
}

function onDay(stored: Ledger, day: string): Ledger {
  return stored.day === day ? stored : { day, nanoUsd: 0, jobs: 0, open: stored.open };
}

function dayOf(now: number): string {
  return new Date(Math.floor(now / DAY_MS) * DAY_MS).toISOString().slice(0, 10);
}

const PREFIX = 'migration/shadow/';

function keyOf(endpoint: string): string {
  return `${PREFIX}${endpoint}`;
}
