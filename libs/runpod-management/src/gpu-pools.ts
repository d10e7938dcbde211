import { z } from 'zod';

import data from './gpu-pools.json' with { type: 'json' };
import { RunPodManagementError } from './runpod-error.ts';

const table = z
  .object({
    date: z.string(),
    source: z.string(),
    pools: z.record(z.string(), z.object({ memoryGb: z.number(), cards: z.array(z.string()) })),
    modal: z.record(z.string(), z.object({ pool: z.string(), sameCard: z.boolean() })),
  })
  .parse(data);

/** Which of RunPod's pools stands for which of Modal's cards, with the date and the source of the table. */
export const GPU_POOLS: Readonly<typeof table> = table;

/** Pools for the cards of an endpoint.json. */
export interface PoolSelection {
  /** In the order of the cards, each once. RunPod takes whichever has room: the order is not a preference there. */
  readonly pools: readonly string[];
  /** Cards of each worker. */
  readonly count: number;
  /** What is not the same as on Modal, in words. */
  readonly notes: readonly string[];
}

/**
 * The pools for cards as endpoint.json names them (`L40S`, `H100:2`).
 *
 * @throws {RunPodManagementError} `unknown_gpu` for a card without a pool, or cards in different numbers.
 */
export function poolsFor(cards: readonly string[], endpoint?: string): PoolSelection {
  const pools = new Set<string>();
  const counts = new Set<number>();
  const notes: string[] = [];
  for (const entry of cards) {
    const [card = '', count = '1'] = entry.split(':');
    const match = GPU_POOLS.modal[card];
    const pool = match === undefined ? undefined : GPU_POOLS.pools[match.pool];
    if (match === undefined || pool === undefined)
      throw new RunPodManagementError('unknown_gpu', `RunPod has no GPU pool for ${card}.`, {
        endpoint,
        hint: `Name pools in endpoint.json: "providers": {"runpod": {"gpuPools": ["AMPERE_80"]}}; there are ${Object.keys(GPU_POOLS.pools).join(', ')}.`,
      });
    pools.add(match.pool);
    counts.add(Number(count));
    if (!match.sameCard)
      notes.push(
        `${card} is not among RunPod's pools: ${match.pool} (${pool.memoryGb} GB: ${pool.cards.join(', ')}) stands for it`,
      );
  }
  const [count = 1, ...others] = counts;
  if (others.length > 0)
    throw new RunPodManagementError(
      'unknown_gpu',
      `RunPod gives every worker of an endpoint the same number of cards; endpoint.json names ${cards.join(', ')}.`,
      { endpoint, hint: 'Name "gpuPools" and "gpuCount" below "providers": {"runpod": …}.' },
    );
  return { pools: [...pools], count, notes };
}
