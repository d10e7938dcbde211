/** What the providers billed for an endpoint, beside what its jobs are reckoned to cost. */

/** One part of a bill, such as `GPU`. US dollars. */
export interface BillPart {
  readonly name: string;
  readonly usd: number;
}

/** What one provider billed. */
export type Bill =
  | {
      readonly isKnown: true;
      /** Whose record it is. */
      readonly source: string;
      /** US dollars for workers in the time of the bill, idle time in it. */
      readonly usd: number;
      readonly parts: readonly BillPart[];
      /** Volumes, which are billed by size and not by job; in the same time. Empty where none is told apart. */
      readonly storage: readonly BillPart[];
      /** What must be known to read the figures. */
      readonly notes: readonly string[];
    }
  | { readonly isKnown: false; readonly why: string };

/** One side of an endpoint. */
export interface SideBill {
  readonly backend: string;
  readonly bill: Bill;
  /** Jobs of that time in the job stores, those of comparisons among them. */
  readonly jobs: number;
  /** What of them has a cost, reckoned by measured seconds and published prices. */
  readonly reckonedJobs: number;
  readonly reckonedUsd: number;
}

/** Both sides of an endpoint over whole hours (UTC). */
export interface EndpointBill {
  readonly endpoint: string;
  /** ISO 8601; the last hour may still run, and is billed as far as the provider has got. */
  readonly from: string;
  readonly to: string;
  readonly old: SideBill;
  readonly new: SideBill;
}

/** US dollars billed for each job of the store; undefined where the bill or the jobs are missing. */
export function billedPerJob({ bill, jobs }: SideBill): number | undefined {
  return bill.isKnown && jobs > 0 ? bill.usd / jobs : undefined;
}

/** US dollars reckoned for each job that has a cost. */
export function reckonedPerJob({ reckonedJobs, reckonedUsd }: SideBill): number | undefined {
  return reckonedJobs > 0 ? reckonedUsd / reckonedJobs : undefined;
}
