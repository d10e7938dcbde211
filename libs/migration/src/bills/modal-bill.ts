/** What Modal billed for an app: of what `modal billing report` prints. */
import { z } from 'zod';

import type { Bill } from './bill.ts';
import type { BillingHours } from './billing-hours.ts';

/** Rows of modal 1.6.4 with `--json --show-resources`. */
const rows = z.array(
  z.object({
    /** Name of the app, for a deployed one. */
    description: z.string(),
    environment: z.string(),
    interval_start: z.string(),
    resource: z.string(),
    /** US dollars, a decimal number. */
    cost: z.string().refine((text) => text.trim() !== '' && Number.isFinite(Number(text)), 'a number'),
  }),
);

/** Arguments of the `modal` program: all apps of the workspace by the hour and resource. */
export function modalBillArguments({ from, to }: BillingHours): readonly string[] {
  // The client takes times without a zone for UTC.
  const moment = (at: number): string => new Date(at).toISOString().slice(0, 19);
  return [
    ...['billing', 'report', '--start', moment(from), '--end', moment(to)],
    ...['--resolution', 'h', '--show-resources', '--json'],
  ];
}

/**
 * The part of one app in what the program printed.
 *
 * @param environment Modal environment; every one without it.
 */
export function modalBill(printed: string, app: string, environment: string | undefined): Bill {
  const read = rows.safeParse(jsonOf(printed));
  if (!read.success)
    return {
      isKnown: false,
      why: `\`modal billing report\` printed what this release does not know: ${z.prettifyError(read.error)}`,
    };
  const own = read.data
    .filter(({ description }) => description === app)
    .filter((row) => environment === undefined || row.environment === environment);
  const parts = new Map<string, number>();
  for (const { resource, cost } of own) parts.set(resource, (parts.get(resource) ?? 0) + Number(cost));
  return {
    isKnown: true,
    source: 'Modal, its billing report, by the hour',
    usd: own.reduce((sum, { cost }) => sum + Number(cost), 0),
    parts: [...parts].map(([name, usd]) => ({ name, usd })),
    storage: [],
    notes: [
      'Of Modal’s bill only the rows of the app are here: Volumes are in it no further than Modal counts them to the app.',
      'Modal promises full hours only: the hour that runs now may be missing.',
      ...(own.length === 0 ? [`Modal has no bill of ${app} in that time, or none yet.`] : []),
    ],
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
