/** So many requests within any stretch of so many milliseconds, and so many under way at once. */
export interface RateLimit {
  readonly requests: number;
  readonly perMs: number;
  /** Unlimited when absent. */
  readonly concurrent?: number;
  /**
   * Whether a request counts from when it was `sent` (default), as far as delays on the way allow, or until it was
   * `answered`: the provider surely got it before that, so that no burst on a busy machine can reach it too early. The
   * price is the latency, once in every stretch.
   */
  readonly counted?: 'sent' | 'answered';
}

/**
 * What a 429 does to a limit: times 0.7, at least a tenth of it left, and a tenth of the whole back every 10 s. Ours,
 * in the manner of TCP (decrease at once, increase slowly): the published figure is what a provider grants most accounts,
 * and what it grants this one is found out in half a minute.
 */
export const ADAPTATION = { decrease: 0.7, least: 0.1, recoveryPerMs: 0.1 / 10_000 } as const;

/** Milliseconds of silence after a 429 without Retry-After, and the longest that one with it is honoured. */
export const PAUSE = { unaskedMs: 1_000, longestMs: 60_000 } as const;

/** Remembers when requests were let through, and says when the next one may go. */
export class RequestWindow {
  readonly #limit: RateLimit;
  readonly #spanMs: number;
  /** The last `requests` moments, in a ring. */
  readonly #times: Float64Array;
  #total = 0;
  #running = 0;
  #pausedUntil = -Infinity;
  #reduced = 1;
  #reducedAt = -Infinity;

  /**
   * @param jitterMs by how much two requests may be delayed differently on their way: the stretch is that much longer
   *   here, so that it holds where they arrive.
   */
  constructor(limit: RateLimit, jitterMs: number) {
    this.#limit = limit;
    this.#spanMs = limit.perMs + jitterMs;
    this.#times = new Float64Array(limit.requests);
  }

  /** Whether as many requests are under way as may be. */
  get isFull(): boolean {
    return this.#running >= (this.#limit.concurrent ?? Infinity);
  }

  /** Requests a millisecond, as far as 429s have left them. */
  rate(now: number): number {
    return (this.#limit.requests * this.#factor(now)) / this.#spanMs;
  }

  /** The earliest moment at which one more request stays within `share` (0 to 1) of the limit; `now` at the earliest. */
  freeAt(now: number, share: number): number {
    const allowed = Math.max(1, Math.floor(this.#limit.requests * this.#factor(now) * share));
    const room = this.#isAnswered ? allowed - this.#running : allowed;
    if (room <= 0) return Infinity;
    const free = this.#total < room ? now : this.#time(this.#total - room) + this.#spanMs;
    return Math.max(now, this.#pausedUntil, free);
  }

  enter(now: number): void {
    if (!this.#isAnswered) this.#count(now);
    this.#running += 1;
  }

  leave(now: number): void {
    if (this.#isAnswered) this.#count(now);
    this.#running -= 1;
  }

  get #isAnswered(): boolean {
    return this.#limit.counted === 'answered';
  }

  #count(now: number): void {
    this.#times[this.#total % this.#times.length] = now;
    this.#total += 1;
  }

  /** Notes a 429 to a request that was let through at `enteredAt`; those sent before the last decrease count once. */
  throttled(now: number, enteredAt: number, retryAfterMs: number | undefined): void {
    const pause = Math.min(retryAfterMs ?? PAUSE.unaskedMs, PAUSE.longestMs);
    this.#pausedUntil = Math.max(this.#pausedUntil, now + pause);
    if (enteredAt <= this.#reducedAt) return;
    this.#reduced = Math.max(ADAPTATION.least, this.#factor(now) * ADAPTATION.decrease);
    this.#reducedAt = now;
  }

  #factor(now: number): number {
    if (this.#reduced === 1) return 1;
    return Math.min(1, this.#reduced + Math.max(0, now - this.#reducedAt) * ADAPTATION.recoveryPerMs);
  }

  #time(request: number): number {
    return this.#times[request % this.#times.length] ?? 0;
  }
}
