import { z } from 'zod';

import { ComfyUIServiceError } from '../errors.ts';
import modalPrices from '../prices/modal.json' with { type: 'json' };
import runpodPrices from '../prices/runpod.json' with { type: 'json' };
import type { JobCost } from '../store/job-record.ts';

const usdPerSecond = z.number().nonnegative();

const priceTable = z.strictObject({
  provider: z.string().min(1),
  /** When the prices were read, `YYYY-MM-DD`. */
  date: z.iso.date(),
  /** Where they were read. */
  source: z.string().min(1),
  currency: z.literal('USD'),
  /** Whether the start of a worker is billed like its work. */
  coldStartBilled: z.boolean(),
  /** US dollars; absent where they are part of the GPU's price. */
  cpuCorePerSecond: usdPerSecond.optional(),
  memoryGibPerSecond: usdPerSecond.optional(),
  gpus: z.array(
    z.strictObject({
      name: z.string().min(1),
      perSecond: usdPerSecond,
      /** Other names of the same card: drivers', pools', catalogues'. */
      aliases: z.array(z.string()).readonly(),
    }),
  ),
});

/** What a provider's seconds cost, on a date. Prices are data: an account's own replace these. */
export type PriceTable = Readonly<z.infer<typeof priceTable>>;

/**
 * Reads a price table, such as a copy of one of `src/prices` with other figures.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration`.
 */
export function parsePriceTable(value: unknown): PriceTable {
  const checked = priceTable.safeParse(value);
  if (checked.success) return checked.data;
  throw new ComfyUIServiceError(
    'invalid_configuration',
    `The price table is wrong:\n${z.prettifyError(checked.error)}`,
    { cause: checked.error, hint: 'src/prices/modal.json shows its form.' },
  );
}

/** Modal's published prices. Regions (1.15 to 1.75 times) and non-preemptible workers (3 times) are `multiplier`. */
export const MODAL_PRICES: PriceTable = parsePriceTable(modalPrices);

/** RunPod's published prices of flex workers; a secure or an active worker has others. */
export const RUNPOD_PRICES: PriceTable = parsePriceTable(runpodPrices);

/** What a job used. */
export interface JobUsage {
  /** The card, as the worker, the endpoint's pool or the provider names it. */
  readonly gpu: string;
  /** Cards; 1 when absent. */
  readonly gpuCount?: number;
  /** Milliseconds. */
  readonly executionMs: number;
  /** Milliseconds of starting the worker for this job; nothing when absent or `null`. */
  readonly coldStartMs?: number | null;
  /** Physical cores, where the table prices them. */
  readonly cpuCores?: number;
  /** GiB of memory, where the table prices them. */
  readonly memoryGib?: number;
  /** Factor on everything: region, non-preemptible, a contract's discount; 1 when absent. */
  readonly multiplier?: number;
  /** Whether this is a guess made before the job ran; false when absent. */
  readonly estimated?: boolean;
}

/**
 * What a job costs; undefined when the table does not have its card. Time that a worker stays warm afterwards is billed
 * too, but belongs to no job and is not in it.
 */
export function costOf(prices: PriceTable, usage: JobUsage): JobCost | undefined {
  const gpu = indexOf(prices).cards.get(bare(usage.gpu));
  if (gpu === undefined) return undefined;
  const billedMs = usage.executionMs + (prices.coldStartBilled ? (usage.coldStartMs ?? 0) : 0);
  const perSecond =
    gpu.perSecond * (usage.gpuCount ?? 1) +
    (prices.cpuCorePerSecond ?? 0) * (usage.cpuCores ?? 0) +
    (prices.memoryGibPerSecond ?? 0) * (usage.memoryGib ?? 0);
  const usd = (billedMs / 1000) * perSecond * (usage.multiplier ?? 1);
  return {
    usd: Math.round(usd * 1e9) / 1e9,
    estimated: usage.estimated ?? false,
    gpu: gpu.name,
    pricesOf: prices.date,
  };
}

/**
 * What a job costs at most: at the price of the provider's dearest card, for a card that is not known or has no price, so
 * that no such job passes a spend limit by. `gpu` is `null` in it. Undefined for a table without cards.
 */
export function dearestCostOf(prices: PriceTable, usage: Omit<JobUsage, 'gpu'>): JobCost | undefined {
  const { dearest } = indexOf(prices);
  const cost = dearest === undefined ? undefined : costOf(prices, { ...usage, gpu: dearest.name });
  return cost === undefined ? undefined : { ...cost, gpu: null };
}

type Card = PriceTable['gpus'][number];

interface PriceIndex {
  /** By bare names. */
  readonly cards: ReadonlyMap<string, Card>;
  readonly dearest: Card | undefined;
}

/** A service looks prices up twice for every job. */
const indexes = new WeakMap<PriceTable, PriceIndex>();

function indexOf(prices: PriceTable): PriceIndex {
  const known = indexes.get(prices);
  if (known !== undefined) return known;
  const names = prices.gpus.flatMap((card) =>
    [card.name, ...card.aliases].map((name): [string, Card] => [bare(name), card]),
  );
  const [dearest] = prices.gpus.toSorted((a, b) => b.perSecond - a.perSecond);
  // The first of two cards with one name is meant.
  const index = { cards: new Map(names.reverse()), dearest };
  indexes.set(prices, index);
  return index;
}

/** `NVIDIA GeForce RTX 4090` and `RTX 4090` are one card. */
function bare(name: string): string {
  return name.toLowerCase().replaceAll(/nvidia|geforce|[^a-z0-9]/g, '');
}
