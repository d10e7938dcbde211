import { z } from 'zod';

/** What an app cost in one interval, as Modal bills it. */
export interface CostInterval {
  readonly environment: string;
  /** Beginning of the day or hour, ISO 8601. */
  readonly start: string;
  /** Resource, such as `CPU` or a GPU, where the report was asked for them. */
  readonly resource?: string;
  /** US dollars, a decimal number as Modal writes it. */
  readonly dollars: string;
}

/** What an app cost. */
export interface AppCosts {
  readonly app: string;
  readonly intervals: readonly CostInterval[];
  /** Sum of the intervals in US dollars. */
  readonly totalDollars: number;
}

const rows = z.array(
  z.object({
    description: z.string(),
    environment: z.string(),
    interval_start: z.string(),
    cost: z.string(),
    resource: z.string().optional(),
  }),
);

/** Arguments of `modal billing report`: this month unless others are given, always as JSON. */
export function billingArguments(args: readonly string[]): { json: boolean; report: string[] } {
  const rest = args.filter((arg) => arg !== '--json');
  const spans = rest.some((arg) => /^--(for|start)(=|$)/.test(arg)) ? [] : ['--for', 'this month'];
  return { json: rest.length < args.length, report: ['billing', 'report', '--json', ...spans, ...rest] };
}

/**
 * The rows of one app, and of the session that edits it, in a billing report.
 *
 * @throws {Error} when the report is not what modal 1.6.4 prints.
 */
export function appCosts(app: string, report: string, environment: string | undefined): AppCosts {
  const mine = rows
    .parse(JSON.parse(report))
    .filter((row) => row.description === app || row.description === `${app}-edit`)
    .filter((row) => environment === undefined || row.environment === environment);
  const intervals = mine.map((row) => ({
    environment: row.environment,
    start: row.interval_start,
    ...(row.resource === undefined ? {} : { resource: row.resource }),
    dollars: row.cost,
  }));
  return { app, intervals, totalDollars: intervals.reduce((sum, { dollars }) => sum + Number(dollars), 0) };
}

/** The same as lines for a terminal. */
export function costTable({ app, intervals, totalDollars }: AppCosts): string {
  if (intervals.length === 0) return `${app}: nothing was billed in this time.`;
  const lines = intervals.map(({ start, environment, resource, dollars }) =>
    [start.slice(0, 16), environment, resource ?? '', `$${Number(dollars).toFixed(4)}`]
      .filter((cell) => cell !== '')
      .join('  '),
  );
  return [...lines, `${app}: $${totalDollars.toFixed(4)}`].join('\n');
}
