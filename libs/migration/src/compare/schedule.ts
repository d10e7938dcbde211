/** In which order the jobs of a comparison run. */

/** What a job is for: the old side, the old side once more for the noise floor, or the new side. */
export const ARMS = ['old', 'old-again', 'new'] as const;

/** One of {@link ARMS}. */
export type Arm = (typeof ARMS)[number];

/** One job of a comparison; `run` counts from 0, and the three jobs of a run have the same inputs. */
export interface Turn {
  readonly run: number;
  readonly arm: Arm;
}

/**
 * Runs that are shuffled together. Each side drifts over a day, so that both must run at the same time; and outputs are kept in
 * memory until their run is complete.
 */
export const BLOCK_RUNS = 8;

/** Shuffles of a block until its two old jobs of one run are apart; a block of one run never gets there. */
const ATTEMPTS = 100;

/**
 * The turns of a comparison in random order, the same for the same seed. A side's two jobs of one run do not follow each other
 * where that can be: ComfyUI answers a workflow that it has just run from its cache.
 */
export function schedule(runs: number, random: () => number): readonly Turn[] {
  const turns: Turn[] = [];
  for (let first = 0; first < runs; first += BLOCK_RUNS) {
    const block = Array.from({ length: Math.min(BLOCK_RUNS, runs - first) }, (_, index) => first + index);
    turns.push(...shuffledBlock(block, random));
  }
  return turns;
}

function shuffledBlock(runs: readonly number[], random: () => number): Turn[] {
  const turns = runs.flatMap((run) => ARMS.map((arm): Turn => ({ run, arm })));
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    shuffle(turns, random);
    if (!repeatsAnInput(turns)) break;
  }
  return turns;
}

function repeatsAnInput(turns: readonly Turn[]): boolean {
  const old = turns.filter(({ arm }) => arm !== 'new');
  return old.some(({ run }, index) => old[index - 1]?.run === run);
}

/** Fisher and Yates. */
function shuffle(values: Turn[], random: () => number): void {
  for (let last = values.length - 1; last > 0; last -= 1) {
    const chosen = Math.floor(random() * (last + 1));
    const [a, b] = [values[last], values[chosen]];
    if (a === undefined || b === undefined) continue;
    values[last] = b;
    values[chosen] = a;
  }
}
