/** Who judges, in words. */
import {
  JUDGE_SILENCE_MS,
  type JudgeNote,
  type JudgeStatus,
  type MigrationStatus,
  needsJudge,
} from '@ryla/migration';

/** For machines: who holds the lease, or held it last. Times as ISO 8601. */
export function judgeDocument({ isHeld, note }: JudgeStatus): Readonly<Record<string, unknown>> {
  if (note === undefined) return { judges: isHeld, instance: null };
  const { owner, host, pid, since, lastAt, problem } = note;
  return {
    judges: isHeld,
    instance: owner,
    ...{ host, pid, since: moment(since), lastJudgement: lastAt === null ? null : moment(lastAt) },
    problem: problem === null ? null : { at: moment(problem.at), message: problem.message },
  };
}

/** For people. */
export function judgeText({ isHeld, note }: JudgeStatus, now: number): string {
  if (note === undefined)
    return isHeld
      ? 'a running service judges, of a release that does not say which'
      : 'nobody judges; a service with `judge: true` does';
  const { since, lastAt, problem } = note;
  const last = lastAt === null ? 'no judgement yet' : `last judgement ${ago(lastAt, now)}`;
  if (!isHeld) return `nobody judges; ${whoOf(note)} did, ${last}`;
  const failed = problem === null ? '' : `; it failed ${ago(problem.at, now)}: ${problem.message}`;
  return `${whoOf(note)} judges since ${moment(since)}, ${last}${failed}`;
}

/** What a person must know: endpoints that nobody would roll back. Empty where there are none. */
export function judgeWarnings(
  { isHeld, note }: JudgeStatus,
  statuses: readonly Pick<MigrationStatus, 'endpoint' | 'effective'>[],
  now: number,
): readonly string[] {
  const open = statuses.filter(({ effective }) => needsJudge(effective));
  if (open.length === 0) return [];
  const list = open.map(({ endpoint, effective }) => `${endpoint} (${effective})`).join(', ');
  if (!isHeld)
    return [
      `Nobody judges: ${list} would not be rolled back by itself. Start a service with \`judge: true\` on this job store, or go back by \`ryla migrate rollback\`.`,
    ];
  const silence = note === undefined ? 0 : now - (note.lastAt ?? note.since);
  if (note === undefined || silence <= JUDGE_SILENCE_MS) return [];
  return [
    `${whoOf(note)} holds the lease and has not judged for ${Math.round(silence / 1_000)} s: ${list} may not be rolled back by itself. Its log says why.`,
  ];
}

function whoOf({ owner, host, pid }: JudgeNote): string {
  return `instance ${owner.slice(0, 8)} on ${host} (process ${pid})`;
}

function ago(at: number, now: number): string {
  const seconds = Math.max(0, Math.round((now - at) / 1_000));
  return seconds < 120 ? `${seconds} s ago` : `on ${moment(at)}`;
}

function moment(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19)}Z`;
}
