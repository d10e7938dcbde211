/** Bills in words, for every form of the report. */
import { billedPerJob, type EndpointBill, reckonedPerJob, type SideBill } from '../bills/bill.ts';
import { usd } from '../compare/wording.ts';
import { NONE } from './table.ts';
import { moment } from './stage-figures.ts';

/** Heading of {@link billRows}. */
export const BILL_COLUMNS = ['Billed', 'Old', 'New'] as const;

/** What was billed beside what is reckoned. */
export function billRows({ old, new: now }: EndpointBill): readonly (readonly string[])[] {
  const both = (name: string, textOf: (side: SideBill) => string): readonly string[] => [
    name,
    textOf(old),
    textOf(now),
  ];
  return [
    both('Workers, idle time in it', ({ bill }) => (bill.isKnown ? usd(bill.usd) : 'not known')),
    both('of it', ({ bill }) => (bill.isKnown ? parts(bill.parts) : NONE)),
    both('Jobs of that time in the job store', ({ jobs }) => jobs.toLocaleString('en')),
    both('A job, billed', (side) => money(billedPerJob(side))),
    both('A job, reckoned, without idle time', (side) => money(reckonedPerJob(side))),
    both('Billed by reckoned', (side) => ratio(billedPerJob(side), reckonedPerJob(side))),
    both('Volumes, billed by size', ({ bill }) => (bill.isKnown ? parts(bill.storage) : 'not known')),
    both('From', ({ bill }) => (bill.isKnown ? bill.source : NONE)),
  ];
}

/** What the figures are of, and why some are missing. */
export function billNotes({ from, to, old, new: now }: EndpointBill): readonly string[] {
  const side = (name: string, { bill, jobs }: SideBill): readonly string[] => {
    if (!bill.isKnown) return [`The bill of the ${name} side cannot be had: ${bill.why}`];
    const none = jobs === 0 ? [`The job store has no job of the ${name} side in that time.`] : [];
    return [...none, ...bill.notes];
  };
  return [
    `Whole hours from ${moment(Date.parse(from))} to ${moment(Date.parse(to))}. A bill has no single jobs: it is divided by the jobs that the job store has of these hours, so what other programs sent there makes a job look dearer, and an hour that is not billed in full yet makes it look cheaper.`,
    ...new Set([...side('old', old), ...side('new', now)]),
  ];
}

function parts(all: readonly { readonly name: string; readonly usd: number }[]): string {
  return all.length === 0 ? 'none' : all.map(({ name, usd: amount }) => `${name} ${usd(amount)}`).join(', ');
}

function money(value: number | undefined): string {
  return value === undefined ? 'not known' : usd(value);
}

function ratio(billed: number | undefined, reckoned: number | undefined): string {
  if (billed === undefined || reckoned === undefined || reckoned === 0) return 'not known';
  return `${(billed / reckoned).toFixed(2)} times`;
}
