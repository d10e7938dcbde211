/** The time that bills are read for. */

const HOUR_MS = 60 * 60 * 1_000;
const DAY_MS = 24 * HOUR_MS;

/** Whole hours (UTC): what both providers bill by. Milliseconds since 1970. */
export interface BillingHours {
  readonly from: number;
  /** The end of the hour that runs now. */
  readonly to: number;
}

/** The last days in whole hours, the one that runs now among them. */
export function billingHours(days: number, now: number): BillingHours {
  return {
    from: Math.floor((now - days * DAY_MS) / HOUR_MS) * HOUR_MS,
    to: Math.floor(now / HOUR_MS) * HOUR_MS + HOUR_MS,
  };
}
