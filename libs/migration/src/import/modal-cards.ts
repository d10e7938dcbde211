/** Which of Modal's cards stand for what an endpoint asks RunPod for: as much memory, the cheapest first. */
import { MODAL_PRICES } from '@ryla/business';
import { GPU_POOLS } from '@ryla/runpod-management';

/** Memory of Modal's cards in GB (modal.com/docs/guide/gpu, 2026-11). */
const MEMORY_GB: Readonly<Record<string, number>> = {
  T4: 16,
  L4: 24,
  A10: 24,
  L40S: 48,
  'A100-40GB': 40,
  'A100-80GB': 80,
  H100: 80,
  H200: 141,
  B200: 180,
};

/** A card, and whether it is the one that RunPod has. */
export interface CardChoice {
  readonly card: string;
  readonly isSame: boolean;
  readonly note: string;
}

/** The card for a pool; undefined for a pool that nobody knows, or that is larger than any card. */
export function cardForPool(pool: string): CardChoice | undefined {
  const known = Object.hasOwn(GPU_POOLS.pools, pool) ? GPU_POOLS.pools[pool] : undefined;
  if (known === undefined) return undefined;
  const same = Object.entries(GPU_POOLS.modal).filter(
    ([card, match]) => match.pool === pool && match.sameCard && Object.hasOwn(MEMORY_GB, card),
  );
  const card = cheapestWith(known.memoryGb);
  if (card === undefined) return undefined;
  const price = priceOf(card);
  // The pool may hold others beside the one that Modal has too.
  const isSame = same.some(([name]) => name === card) && known.cards.length === 1;
  return {
    card,
    isSame,
    note: `${pool} (${known.memoryGb} GB: ${known.cards.join(', ')}) becomes ${card} (${MEMORY_GB[card] ?? 0} GB, $${(price ?? 0).toFixed(6)}/s), the cheapest card of Modal's with as much memory; how fast it is, the comparison tells`,
  };
}

/** The pool of one of RunPod's GPU type ids, such as `NVIDIA GeForce RTX 4090`. */
export function poolOfType(type: string): string | undefined {
  const wanted = bare(type);
  return Object.entries(GPU_POOLS.pools).find(([, { cards }]) =>
    cards.some((card) => bare(card) === wanted || (wanted.startsWith(bare(card)) && SUFFIX.test(wanted))),
  )?.[0];
}

/** Ends of type ids that say how a card is connected. */
const SUFFIX = /(80gb)?(hbm3|pcie|sxm4?|nvl)$/;

function cheapestWith(memoryGb: number): string | undefined {
  return Object.entries(MEMORY_GB)
    .filter(([card, memory]) => memory >= memoryGb && priceOf(card) !== undefined)
    .sort(([a], [b]) => (priceOf(a) ?? 0) - (priceOf(b) ?? 0))[0]?.[0];
}

function priceOf(card: string): number | undefined {
  return MODAL_PRICES.gpus.find(({ name, aliases }) => name === card || aliases.includes(card))?.perSecond;
}

function bare(name: string): string {
  return name.toLowerCase().replaceAll(/nvidia|geforce|generation|[^a-z0-9]/g, '');
}
