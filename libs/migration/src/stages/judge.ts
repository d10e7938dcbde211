import { type Clock, type JobStore, systemClock } from '@ryla/business';

import type { Migration } from './migration.ts';

/** Name of the lease that the judging instance holds. */
export const JUDGE_LEASE = 'migration/judge';

/** Milliseconds between two judgements. */
export const JUDGE_MS = 5_000;

/** Options of {@link startJudge}. */
export interface JudgeOptions {
  readonly store: Pick<JobStore, 'acquireLease' | 'releaseLease'>;
  readonly migration: Pick<Migration, 'judge'>;
  /** Unique to this process. */
  readonly owner: string;
  /** {@link JUDGE_MS} without it. */
  readonly intervalMs?: number;
  readonly clock?: Clock;
  /** Hears of every rollback that this instance has done. */
  readonly onRollback?: (rollback: Awaited<ReturnType<Migration['judge']>>[number]) => void;
  readonly onProblem?: (error: unknown) => void;
}

/** Judges as long as it runs, in the one instance that holds the lease; the others wait for it. */
export function startJudge(options: JudgeOptions): AsyncDisposable {
  const { store, migration, owner, intervalMs = JUDGE_MS, clock = systemClock } = options;
  let closed = false;
  let cancel = (): void => undefined;
  let running: Promise<void> = Promise.resolve();

  async function once(): Promise<void> {
    // Long enough for a judgement that takes its time, short enough that another takes over soon.
    if (!(await store.acquireLease(JUDGE_LEASE, { owner, ms: intervalMs * 6 }))) return;
    for (const rollback of await migration.judge()) options.onRollback?.(rollback);
  }

  function again(ms: number): void {
    cancel = clock.setTimer(
      ms,
      () => {
        running = once()
          .catch((error: unknown) => options.onProblem?.(error))
          .then(() => {
            if (!isTrue(closed)) again(intervalMs);
          });
      },
      { background: true },
    );
  }

  again(0);
  return {
    async [Symbol.asyncDispose]() {
      closed = true;
      cancel();
      await running;
      await store.releaseLease(JUDGE_LEASE, owner).catch(() => undefined);
    },
  };
}

/** Keeps the compiler from narrowing what a callback changes. */
function isTrue(value: boolean): boolean {
  return value;
}
