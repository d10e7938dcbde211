import { z } from 'zod';

import type { RunPodNetworkVolume } from './schemas.ts';
import data from './volume-prices.json' with { type: 'json' };

const rate = z.number().positive();

const table = z
  .object({
    date: z.string(),
    source: z.string(),
    tiers: z.record(
      z.string(),
      z.object({ usdPerGbMonth: rate, above: z.object({ gb: rate, usdPerGbMonth: rate }) }),
    ),
  })
  .parse(data);

/** What network volumes cost by their storage tier, with the date and the source of the table. */
export const VOLUME_PRICES: Readonly<typeof table> = table;

/**
 * US dollars a month for a network volume: its whole size is paid, used or not. Undefined for a tier whose price is not known.
 *
 * @param volume `size` in GB.
 */
export function volumeUsdPerMonth({
  size,
  type,
}: Pick<RunPodNetworkVolume, 'size' | 'type'>): number | undefined {
  const tier = table.tiers[type];
  if (tier === undefined) return undefined;
  const { usdPerGbMonth, above } = tier;
  return Math.min(size, above.gb) * usdPerGbMonth + Math.max(0, size - above.gb) * above.usdPerGbMonth;
}
