/** Who judges, as the judging instance notes it in the job store. */
import { randomUUID } from 'node:crypto';

import type { JobStore, JsonValue } from '@ryla/business';
import { z } from 'zod';

/** Name of the lease that the judging instance holds. */
export const JUDGE_LEASE = 'migration/judge';

const KEY = 'migration/judge';

const judgeNote = z.object({
  /** Of the instance, unique to its process. */
  owner: z.string(),
  host: z.string(),
  pid: z.int(),
  /** When it took the lease; milliseconds since 1970. */
  since: z.number(),
  /** When it last came to the end of a judgement; null before the first. Milliseconds since 1970. */
  lastAt: z.number().nullable(),
  /** What went wrong with a later one; null when nothing did. */
  problem: z.object({ at: z.number(), message: z.string() }).nullable(),
});

/** What an instance says of its judging. */
export type JudgeNote = z.infer<typeof judgeNote>;

/** Whether somebody judges, and who. */
export interface JudgeStatus {
  /** Whether an instance holds the lease now. */
  readonly isHeld: boolean;
  /** Of the holder, or of the last one; undefined where nobody has noted anything. */
  readonly note: JudgeNote | undefined;
}

/** Notes it. Whoever took the lease meanwhile writes over it. */
export async function noteJudge(
  store: Pick<JobStore, 'getState' | 'setState'>,
  note: JudgeNote,
): Promise<void> {
  const value: JsonValue = { ...note, problem: note.problem === null ? null : { ...note.problem } };
  const entry = await store.getState(KEY);
  await store.setState(KEY, value, entry?.version ?? 0);
}

/** Looks whether the lease is held, by taking it for a moment, and who last noted that he judges. */
export async function judgeStatus(
  store: Pick<JobStore, 'getState' | 'acquireLease' | 'releaseLease'>,
): Promise<JudgeStatus> {
  const owner = `status-${randomUUID()}`;
  const isFree = await store.acquireLease(JUDGE_LEASE, { owner, ms: 1 });
  if (isFree) await store.releaseLease(JUDGE_LEASE, owner);
  const read = judgeNote.safeParse((await store.getState(KEY))?.value);
  return { isHeld: !isFree, note: read.success ? read.data : undefined };
}
