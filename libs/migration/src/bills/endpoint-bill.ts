/** Bills of both sides beside the jobs of the same time. */
import type { JobRecord, JobStore } from '@ryla/business';

import type { Bill, EndpointBill, SideBill } from './bill.ts';
import type { BillingHours } from './billing-hours.ts';

/** Jobs on a page of the store's list. */
const PAGE = 1_000;

/** Options of {@link endpointBill}. */
export interface EndpointBillOptions {
  readonly endpoint: string;
  readonly backends: { readonly old: string; readonly new: string };
  readonly hours: BillingHours;
  /** Every store whose jobs ran there: those of comparisons are billed too. */
  readonly stores: readonly Pick<JobStore, 'list'>[];
  /** Reads the bill of a side. */
  readonly billOf: (side: 'old' | 'new', backend: string) => Promise<Bill>;
}

/** Puts the bills of both sides beside the jobs of these hours. */
export async function endpointBill(options: EndpointBillOptions): Promise<EndpointBill> {
  const { endpoint, backends, hours } = options;
  const side = async (name: 'old' | 'new'): Promise<SideBill> => ({
    backend: backends[name],
    bill: await options.billOf(name, backends[name]),
    ...(await jobsOf(options, backends[name])),
  });
  return {
    endpoint,
    from: new Date(hours.from).toISOString(),
    to: new Date(hours.to).toISOString(),
    old: await side('old'),
    new: await side('new'),
  };
}

async function jobsOf(
  { endpoint, hours: { from, to }, stores }: EndpointBillOptions,
  backend: string,
): Promise<Pick<SideBill, 'jobs' | 'reckonedJobs' | 'reckonedUsd'>> {
  const found = { jobs: 0, reckonedJobs: 0, reckonedUsd: 0 };
  for (const store of stores) {
    let cursor: string | undefined;
    do {
      const page = await store.list({ endpoint, backend, since: from, until: to }, { limit: PAGE, cursor });
      for (const job of page.jobs.filter(wasSent)) {
        found.jobs += 1;
        if (job.cost === null || job.cost.estimated) continue;
        found.reckonedJobs += 1;
        found.reckonedUsd += job.cost.usd;
      }
      cursor = page.next;
    } while (cursor !== undefined);
  }
  return found;
}

/** What was refused, or never sent, is on no bill. */
function wasSent({ submission }: JobRecord): boolean {
  return submission === 'submitted' || submission === 'unknown';
}
