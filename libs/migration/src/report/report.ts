/** A report that stakeholders can read, from comparisons, migrations and bills. */
import type { EndpointBill } from '../bills/bill.ts';
import type { Comparison } from '../compare/comparison.ts';
import type { Volume } from '../compare/costs.ts';
import { charts } from './charts.ts';
import { withVolume } from './figures.ts';
import { markdown } from './markdown.ts';
import type { MigrationRecord } from './migration-record.ts';
import { page, type Shown } from './page.ts';
import { timeChart } from './stage-charts.ts';
import type { Reported } from './summary.ts';

/** Options of {@link createReport}. */
export interface ReportOptions {
  /** One for each endpoint; the last one counts where there are several. */
  readonly comparisons?: readonly Comparison[];
  /** Stages, gates and jobs over time: of `readMigrationRecords`. */
  readonly migrations?: readonly MigrationRecord[];
  /** What was billed: of `endpointBill`. */
  readonly bills?: readonly EndpointBill[];
  /** Jobs that the team runs, by endpoint; without it nothing is projected. */
  readonly volumes?: Readonly<Record<string, Volume>>;
  readonly title?: string;
  /** Moment that the report tells; now without it. */
  readonly createdAt?: Date;
}

/** One report in three forms. */
export interface Report {
  /** One self-contained file: no script, no request, pictures and raw data in it. */
  readonly html: string;
  readonly markdown: string;
  /** Comparisons, projections, stages, series and bills, for programs. */
  readonly json: string;
}

/** Makes a report of every endpoint that is in any of the parts. */
export async function createReport({
  title = 'From the old side to the new',
  createdAt = new Date(),
  ...options
}: ReportOptions): Promise<Report> {
  const all = reportedOf(options);
  const shown: Shown[] = [];
  for (const each of all) {
    const { compared, migration } = each;
    shown.push({
      ...each,
      compared:
        compared === undefined ? undefined : { ...compared, charts: await charts(compared.comparison) },
      chart: migration === undefined ? undefined : await timeChart(migration),
    });
  }
  const made = createdAt.toISOString();
  return {
    html: page(title, made, shown),
    markdown: markdown(title, made, all),
    json: `${JSON.stringify({ version: 2, title, createdAt: made, endpoints: all.map(documentOf) }, undefined, 2)}\n`,
  };
}

function reportedOf({
  comparisons = [],
  migrations = [],
  bills = [],
  volumes = {},
}: ReportOptions): readonly Reported[] {
  const compared = new Map(comparisons.map((each) => [each.endpoint, each]));
  const records = new Map(migrations.map((each) => [each.status.endpoint, each]));
  const billed = new Map(bills.map((each) => [each.endpoint, each]));
  const names = new Set([...compared.keys(), ...records.keys(), ...billed.keys()]);
  return [...names].map((endpoint) => {
    const comparison = compared.get(endpoint);
    const volume = Object.hasOwn(volumes, endpoint) ? volumes[endpoint] : undefined;
    return {
      endpoint,
      compared: comparison === undefined ? undefined : withVolume(comparison, volume),
      migration: records.get(endpoint),
      bill: billed.get(endpoint),
    };
  });
}

/** Infinite ends of intervals are null in JSON. */
function documentOf({ endpoint, compared, migration, bill }: Reported): object {
  return {
    endpoint,
    comparison: compared?.comparison ?? null,
    volume: compared?.volume ?? null,
    projected: compared?.projected ?? null,
    migration: migration ?? null,
    bill: bill ?? null,
  };
}
