/** Raw data inside the page, as links that save it. */
import type { Comparison } from '../compare/comparison.ts';
import { html, type Markup } from './markup.ts';

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

/** All that was measured, small pictures left out, as JSON; and the jobs as CSV. */
export function dataLinks(comparison: Comparison): readonly Markup[] {
  const name = comparison.endpoint.replaceAll(/[^A-Za-z0-9._-]+/g, '-');
  const json = JSON.stringify({ ...comparison, thumbnails: [] });
  return [
    link(`${name}.comparison.json`, 'application/json', json),
    link(`${name}.jobs.csv`, 'text/csv', jobsTable(comparison)),
  ];
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
