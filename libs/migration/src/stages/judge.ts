import { hostname } from 'node:os';
import process from 'node:process';

import { type Clock, type JobStore, systemClock } from '@ryla/business';

import { JUDGE_LEASE, noteJudge } from './judge-note.ts';
import type { Migration } from './migration.ts';
import { isRunning, type Stage } from './stage.ts';

/** Milliseconds between two judgements. */
export const JUDGE_MS = 5_000;

/** Milliseconds without a judgement after which one that holds the lease does not judge: as long as the lease. */
export const JUDGE_SILENCE_MS = JUDGE_MS * 6;

/** Whether somebody has to judge an endpoint at a stage. */
export function needsJudge(stage: Stage): boolean {
  return isRunning(stage);
}

/** Options of {@link startJudge}. */
export interface JudgeOptions {
  readonly store: Pick<JobStore, 'acquireLease' | 'releaseLease' | 'getState' | 'setState'>;
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

/**
 * Judges as long as it runs, in the one instance that holds the lease; the others wait for it. It notes in the store who it is and
 * when it last judged, for `judgeStatus`.
 */
export function startJudge(options: JudgeOptions): AsyncDisposable {
  const { store, migration, owner, intervalMs = JUDGE_MS, clock = systemClock } = options;
  let closed = false;
  let cancel = (): void => undefined;
  let running: Promise<void> = Promise.resolve();

  let since: number | undefined;
  let lastAt: number | null = null;

  async function once(): Promise<void> {
    // Long enough for a judgement that takes its time, short enough that another takes over soon.
    if (!(await store.acquireLease(JUDGE_LEASE, { owner, ms: intervalMs * 6 }))) {
      since = undefined;
      return;
    }
    const me = { owner, host: hostname(), pid: process.pid, since: (since ??= clock.now()) };
    try {
      for (const rollback of await migration.judge()) options.onRollback?.(rollback);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      await noteJudge(store, { ...me, lastAt, problem: { at: clock.now(), message } });
      throw error;
    }
    lastAt = clock.now();
    await noteJudge(store, { ...me, lastAt, problem: null });
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
