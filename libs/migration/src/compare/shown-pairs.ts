/** The pairs of pictures that a report shows: those that differ most. */
import type { Comparison } from './comparison.ts';
import type { UnjudgedPair } from './pair-outputs.ts';

/** Pairs of pictures that a comparison keeps small copies of. */
export const THUMBNAIL_PAIRS = 12;

/** Copies that are kept while the comparison runs, before it is known what is judged to differ. */
const CANDIDATES = 4 * THUMBNAIL_PAIRS;

/** Keeps the copies of long comparisons from filling the memory: those of the least different pairs are let go. */
export function dropThumbnails(pairs: UnjudgedPair[]): void {
  const shown = [...pairs.entries()].filter(([, { thumbnails }]) => thumbnails !== undefined);
  if (shown.length <= 2 * CANDIDATES) return;
  const worstFirst = shown.toSorted(([, a], [, b]) => distanceOf(b) - distanceOf(a));
  for (const [index, pair] of worstFirst.slice(CANDIDATES)) pairs[index] = { ...pair, thumbnails: undefined };
}

const SEVERITY = ['same', 'within-noise', 'look', 'differs'] as const;

/** Copies of the pairs that differ most; `pairs` are the judged ones, in the same order. */
export function worstPairs(
  unjudged: readonly UnjudgedPair[],
  pairs: Comparison['pairs'],
): Comparison['thumbnails'] {
  return pairs
    .map((pair, index) => ({ pair, thumbnails: unjudged[index]?.thumbnails }))
    .toSorted(
      ({ pair: a }, { pair: b }) =>
        SEVERITY.indexOf(b.result) - SEVERITY.indexOf(a.result) || distanceOf(b) - distanceOf(a),
    )
    .flatMap(({ pair: { run, node, index, result }, thumbnails }) =>
      thumbnails === undefined
        ? []
        : { run, node, index, result, ...thumbnails, difference: thumbnails.difference ?? null },
    )
    .slice(0, THUMBNAIL_PAIRS);
}

/** Pictures without a distance are of another size or format: nothing is farther. */
function distanceOf({ difference }: Pick<UnjudgedPair, 'difference'>): number {
  return difference === null ? Infinity : difference.ssimLoss + difference.meanDifference / 255;
}
