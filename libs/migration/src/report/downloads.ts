/** Raw data inside the page, as links that save it. */
import type { Comparison } from '../compare/comparison.ts';
import type { JobSeries } from './job-series.ts';
import { html, type Markup } from './markup.ts';
import type { Reported } from './summary.ts';

const COLUMNS = [
  'id',
  'run',
  'arm',
  'backend',
  'startedAt',
  'status',
  'start',
  'totalMs',
  'queueMs',
  'coldStartMs',
  'executionMs',
  'gpu',
  'usd',
] as const;

const SERIES_COLUMNS = ['from', 'side', 'jobs', 'shadowJobs', 'jobsPerHour', 'failedShare', 'p95Ms'] as const;

/**
 * All that was measured, small pictures left out, as JSON, and the jobs as CSV; stages, gates and history as JSON, the series
 * over time as CSV; the bills as JSON.
 */
export function dataLinks({ endpoint, compared, migration, bill }: Reported): readonly Markup[] {
  const name = endpoint.replaceAll(/[^A-Za-z0-9._-]+/g, '-');
  const json = (kind: string, value: unknown): Markup =>
    link(`${name}.${kind}.json`, 'application/json', JSON.stringify(value));
  const csv = (kind: string, text: string): Markup => link(`${name}.${kind}.csv`, 'text/csv', text);
  return [
    ...(compared === undefined
      ? []
      : [
          json('comparison', { ...compared.comparison, thumbnails: [] }),
          csv('jobs', jobsTable(compared.comparison)),
        ]),
    ...(migration === undefined
      ? []
      : [json('migration', migration), csv('series', seriesTable(migration.series))]),
    ...(bill === undefined ? [] : [json('bills', bill)]),
  ];
}

/** The series over time as comma-separated values, one line for each side and span. */
export function seriesTable({ points }: JobSeries): string {
  const lines = points.map(({ at, arm, ...point }) =>
    [
      new Date(at).toISOString(),
      arm,
      ...[point.jobs, point.shadows, point.jobsPerHour, point.failedShare, point.p95Ms],
    ]
      .map(cell)
      .join(','),
  );
  return [SERIES_COLUMNS.join(','), ...lines, ''].join('\r\n');
}

/** Jobs as comma-separated values, one a line. */
export function jobsTable({ jobs }: Comparison): string {
  const lines = jobs.map((job) => COLUMNS.map((column) => cell(job[column])).join(','));
  return [COLUMNS.join(','), ...lines, ''].join('\r\n');
}

/** A text that a spreadsheet would run as a formula is kept from it by an apostrophe (OWASP, CSV injection). */
function cell(value: string | number | null): string {
  if (value === null || typeof value === 'number') return String(value ?? '');
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function link(name: string, type: string, content: string): Markup {
  const data = Buffer.from(content).toString('base64');
  return html`<a download="${name}" href="data:${type};base64,${data}">${name}</a>`;
}
