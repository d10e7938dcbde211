/**
 * Looks at a job of which no history is known: quick at first, slower as it goes on. Ours: a person who watches
 * sees a change within two seconds.
 */
export const POLL_INTERVAL = { firstMs: 250, largestMs: 2_000, growth: 1.25 } as const;

/**
 * Looks at a job with a webhook, should that be lost: every five minutes and up to half as much more by chance, the first
 * one sooner (a minute at least) where history says that it should long have ended, and never more than a quarter of
 * the ordinary looks. Ours: RunPod sends a webhook three times within 20 s, then never again.
 */
export const SAFETY_NET = { soonestMs: 60_000, everyMs: 300_000, spread: 0.5, fairShare: 1 / 4 } as const;

/** Looks again when a webhook came and the backend still says that the job runs: its own parts may lag behind. Ours. */
export const AFTER_NOTICE = { firstMs: 250, growth: 2, looks: 5 } as const;

/** Looks again after an error that may pass: 0.5 s · 2ⁿ up to 30 s, up to a quarter less by chance. */
export const AFTER_FAILURE = { firstMs: 500, largestMs: 30_000, jitter: 0.25 } as const;

/** Part of a result's retention that is kept in hand for the last look: 5 of RunPod's 30 minutes. Ours. */
export const RETENTION_RESERVE = 1 / 6;

/** What the next look at a job is planned by. Times are milliseconds of the monotonic clock. */
export interface PollState {
  /** When it was handed in, or a moment before that. */
  readonly submittedAt: number;
  /** When it was first seen running. */
  readonly runningSince: number | undefined;
  /** The last moment at which it surely had not ended. */
  readonly aliveAt: number;
  /** Milliseconds that its result is kept after its end. */
  readonly retentionMs: number;
  readonly webhook: boolean;
  /** Milliseconds that executions of its workflow took, ascending; undefined when unknown. */
  readonly history: readonly number[] | undefined;
  /** Looks that found it unfinished. */
  readonly looks: number;
  /** Looks since a webhook came for it that it has not borne out; undefined when none came. */
  readonly sinceNotice: number | undefined;
  /** Milliseconds between two looks that the rate limit leaves for jobs in this one's state. */
  readonly fairMs: number;
  /** From 0 to 1, drawn anew. */
  readonly random: number;
}

/** When to look at a job next: no later than its result may be lost, and otherwise when it is likely to have ended. */
export function planLook(state: PollState, now: number): number {
  return Math.min(likely(state, now), latestLook(state, now));
}

/** The last moment for a look that is still sure to find the result, with time in hand for a queue and errors. */
export function latestLook({ aliveAt, retentionMs, fairMs }: PollState, now: number): number {
  if (retentionMs === Infinity) return Infinity;
  const reserve = Math.min(retentionMs / 3, Math.max(retentionMs * RETENTION_RESERVE, 2 * fairMs));
  return Math.max(now, aliveAt + retentionMs - reserve);
}

function likely(state: PollState, now: number): number {
  const { sinceNotice, webhook, history, looks, fairMs } = state;
  if (sinceNotice !== undefined && sinceNotice < AFTER_NOTICE.looks)
    return now + AFTER_NOTICE.firstMs * AFTER_NOTICE.growth ** sinceNotice;
  if (webhook) return now + safetyNet(state);
  const byAge = Math.min(POLL_INTERVAL.firstMs * POLL_INTERVAL.growth ** looks, POLL_INTERVAL.largestMs);
  const soonest = now + Math.max(byAge, fairMs);
  return history === undefined ? soonest : Math.max(soonest, likelyEnd(state, history, now));
}

function safetyNet({ history, looks, fairMs, random }: PollState): number {
  const { soonestMs, everyMs, spread, fairShare } = SAFETY_NET;
  const slowest = looks === 0 ? history?.at(-1) : undefined;
  const wanted = slowest === undefined ? everyMs : Math.min(Math.max(2 * slowest, soonestMs), everyMs);
  return Math.max(wanted, fairMs / fairShare) * (1 + spread * random);
}

/** A job that waits cannot end before the fastest execution; one that runs ends at one of the quantiles. */
function likelyEnd(state: PollState, history: readonly number[], now: number): number {
  const { runningSince, looks } = state;
  const fastest = history[0] ?? 0;
  if (runningSince === undefined) return (looks === 0 ? state.submittedAt : now) + fastest;
  const slowest = history.at(-1) ?? 0;
  const ran = now - runningSince;
  const quantile = history.find((milliseconds) => milliseconds > ran);
  // Past all experience: a tenth of what it has run already, so that looks grow rarer.
  return quantile === undefined ? now + Math.max(ran, slowest) / 10 : runningSince + quantile;
}
