/** Inputs of many runs from one set. */
import type { EndpointDefinition } from '@ryla/workflow';

import { seeded } from '../seeded.ts';

/** Seeds are drawn from this many numbers: every sampler takes them. */
const SEEDS = 2 ** 31;

/**
 * As many sets of inputs as there are runs, equal but for the seeds: whole-number inputs whose field is `seed` or ends in `_seed`.
 * A worker answers inputs that it has just had from ComfyUI's cache, in no time. A set without a seed stays one set.
 */
export function variedInputs<Inputs extends object>(
  { config }: EndpointDefinition<Inputs>,
  inputs: Inputs,
  runs: number,
  seed = 1,
): readonly Inputs[] {
  const seeds = Object.entries(config.inputs).flatMap(([name, input]) =>
    input.type === 'integer' && /(?:^|_)seed$/.test(input.field)
      ? [{ name, least: input.minimum ?? 0, most: input.maximum ?? SEEDS }]
      : [],
  );
  if (seeds.length === 0) return [inputs];
  const random = seeded(seed);
  const drawn = (least: number, most: number): number =>
    least + Math.floor(random() * (Math.min(most, least + SEEDS) - least));
  return Array.from({ length: runs }, () => ({
    ...inputs,
    ...Object.fromEntries(seeds.map(({ name, least, most }) => [name, drawn(least, most)])),
  }));
}
