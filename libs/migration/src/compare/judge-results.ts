/** Judges pairs of real jobs by what a comparison found: parity for shadow jobs. */
import type { CompareResults } from '../stages/shadow-runner.ts';
import type { Comparison } from './comparison.ts';
import type { VideoReading } from './decoded-video.ts';
import { loadOutputs } from './measured-job.ts';
import { type Circumstances, floorOf, judgePair, limitsWithoutFloor, ROUNDING } from './noise-floor.ts';
import { pairOutputs } from './pair-outputs.ts';

/**
 * Judges what both sides made of one job, for `createShadowRunner`: by the noise floor that a comparison of the endpoint measured.
 * Undefined where it cannot be told.
 */
export function judgeResults(
  { floors, determinism, sides }: Pick<Comparison, 'floors' | 'determinism' | 'sides'>,
  videos: Pick<VideoReading, 'videoFrames'> = {},
): CompareResults {
  const cards = new Set([...sides.old.gpus, ...sides.new.gpus]);
  const circumstances: Circumstances = {
    determinism: determinism.class,
    hasOneCard: cards.size === 1,
    rounding: ROUNDING,
  };
  const unknown = limitsWithoutFloor(circumstances);
  return async (real, shadow, signal) => {
    const [mine, theirs] = [await loadOutputs(real, signal), await loadOutputs(shadow, signal)];
    const pairs = await pairOutputs(0, 'old-again', mine, theirs, { ...videos, signal });
    const results = pairs.map(
      (pair) => judgePair(pair, floorOf(floors, pair)?.limits ?? unknown, circumstances).result,
    );
    if (results.includes('differs')) return 'differs';
    return results.length === 0 || results.includes('look') ? undefined : 'same';
  };
}
