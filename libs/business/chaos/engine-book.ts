/** What the engines of all workers wrote down of their runs: counting-engine/main.py. */
import { readFileSync } from 'node:fs';

import { z } from 'zod';

const line = z.object({
  event: z.enum(['start', 'alive', 'end']),
  id: z.string(),
  pid: z.number(),
  at: z.number(),
});

/** One run of a prompt by one engine. Times are milliseconds since 1970 by this machine's clock. */
export interface EngineRun {
  /** The id under which the job was sent: one for each attempt of the service. */
  readonly id: string;
  readonly pid: number;
  readonly startedAt: number;
  /** Last sign of life. */
  readonly seenAt: number;
  readonly hasEnded: boolean;
}

/** Reads the book; a last line that was cut by a kill is passed over. */
export function readBook(file: string): EngineRun[] {
  const runs: { -readonly [Key in keyof EngineRun]: EngineRun[Key] }[] = [];
  for (const text of readFileSync(file, 'utf8').split('\n')) {
    if (!text.endsWith('}')) continue;
    const { event, id, pid, at } = line.parse(JSON.parse(text));
    if (event === 'start') runs.push({ id, pid, startedAt: at, seenAt: at, hasEnded: false });
    const run = runs.findLast((each) => each.id === id && each.pid === pid);
    if (run === undefined) continue;
    run.seenAt = at;
    run.hasEnded ||= event === 'end';
  }
  return runs;
}

/** What the runs say of once only. */
export interface Counted {
  readonly runs: number;
  /** Runs that a kill cut short. */
  readonly cut: number;
  /** Ids that came to an end more than once. */
  readonly twice: readonly string[];
  /** Ids that ran while an earlier run of the same job still gave signs of life. */
  readonly overlaps: readonly string[];
  /** Ids that came to an end. */
  readonly ended: ReadonlySet<string>;
}

/** @param jobOf the job that an id belongs to: attempts of one job must not overlap either. */
export function count(runs: readonly EngineRun[], jobOf: (id: string) => string): Counted {
  const byJob = Map.groupBy(runs, ({ id }) => jobOf(id));
  const ends = Map.groupBy(
    runs.filter(({ hasEnded }) => hasEnded),
    ({ id }) => id,
  );
  const overlaps = [...byJob].filter(([, all]) => {
    const inOrder = all.toSorted((a, b) => a.startedAt - b.startedAt);
    return inOrder.some((run, index) => run.startedAt < (inOrder[index - 1]?.seenAt ?? 0));
  });
  return {
    runs: runs.length,
    cut: runs.filter(({ hasEnded }) => !hasEnded).length,
    twice: [...ends].filter(([, all]) => all.length > 1).map(([id]) => id),
    overlaps: overlaps.map(([id]) => id),
    ended: new Set(ends.keys()),
  };
}
