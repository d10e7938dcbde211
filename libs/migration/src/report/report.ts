/** A report that stakeholders can read, from comparisons. */
import type { Comparison } from '../compare/comparison.ts';
import type { Volume } from '../compare/costs.ts';
import { charts } from './charts.ts';
import { withVolume } from './figures.ts';
import { markdown } from './markdown.ts';
import { type Illustrated, page } from './page.ts';

/** Options of {@link createReport}. */
export interface ReportOptions {
  /** One for each endpoint. */
  readonly comparisons: readonly Comparison[];
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
  /** Comparisons and projections, for programs. */
  readonly json: string;
}

/** Makes a report. */
export async function createReport({
  comparisons,
  volumes = {},
  title = 'Migration: both sides compared',
  createdAt = new Date(),
}: ReportOptions): Promise<Report> {
  const all: Illustrated[] = [];
  for (const comparison of comparisons) {
    const volume = Object.hasOwn(volumes, comparison.endpoint) ? volumes[comparison.endpoint] : undefined;
    all.push({ ...withVolume(comparison, volume), charts: await charts(comparison) });
  }
  const made = createdAt.toISOString();
  const results = all.map(({ charts: _, ...compared }) => compared);
  return {
    html: page(title, made, all),
    markdown: markdown(title, made, results),
    json: `${JSON.stringify({ version: 1, title, createdAt: made, results }, undefined, 2)}\n`,
  };
}
