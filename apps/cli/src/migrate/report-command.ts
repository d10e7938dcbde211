/** `ryla migrate report`, and the files of every report. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';

import type { JobStore } from '@ryla/business';
import { migrationPath, openStore } from '@ryla/business/config';
import {
  type Comparison,
  createReport,
  type EndpointBill,
  type MigrationRecord,
  readMigrationRecords,
  type ReportOptions as ReportContent,
} from '@ryla/migration';

import { UsageError } from '../exit-codes.ts';
import type { Output } from '../output.ts';
import type { Workspace } from '../workspace.ts';
import { readBills } from './bills.ts';
import { newestComparisons } from './comparison-files.ts';
import { type LoadOptions, volumeOf } from './load.ts';
import { abortOnInterrupt, inTarget } from './migration-place.ts';

/** Options of `report`. */
export interface ReportOptions extends LoadOptions {
  readonly out: string;
  /** Days that bills are read for; none are without it. */
  readonly bills?: number;
}

/** One report of the newest comparisons, with stages, gates, jobs over time, and bills where they are asked for. */
export async function report(files: readonly string[], options: ReportOptions): Promise<void> {
  await inTarget(options, async (workspace, output) => {
    const volume = volumeOf(options);
    const comparisons = await newestComparisons(workspace, files, output);
    await using store = await openStore(workspace);
    const migrations = await migrationsOf(workspace, store);
    if (comparisons.length === 0 && migrations.length === 0)
      throw new UsageError(
        'There is nothing to report for this target: `ryla migrate compare <endpoint>` compares both sides, and `ryla migrate import` begins a migration.',
      );
    const bills = await billsOf(workspace, store, { comparisons, migrations, output }, options.bills);
    const volumes =
      volume === undefined ? {} : Object.fromEntries(comparisons.map(({ endpoint }) => [endpoint, volume]));
    const written = await writeReport(options.out, { comparisons, migrations, bills, volumes });
    tell(output, { comparisons, migrations, bills, written });
  });
}

/** Writes the three forms of a report; returns the files. */
export async function writeReport(folder: string, content: ReportContent): Promise<readonly string[]> {
  const { html, markdown: md, json } = await createReport(content);
  await mkdir(folder, { recursive: true });
  const files: string[] = [];
  for (const [kind, text] of Object.entries({ html, md, json })) {
    const file = path.join(folder, `report.${kind}`);
    await writeFile(file, text);
    files.push(file);
  }
  return files;
}

/** Stages, gates and jobs of the endpoints in ryla.migration.json; none without the file. */
export async function migrationsOf(
  workspace: Workspace,
  store: JobStore,
  endpoints?: readonly string[],
): Promise<readonly MigrationRecord[]> {
  const file = migrationPath(workspace);
  if (file === undefined) return [];
  return await readMigrationRecords({
    ...{ store, fileText: () => readFile(file, 'utf8') },
    ...(endpoints === undefined ? {} : { endpoints }),
  });
}

interface Known {
  readonly comparisons: readonly Comparison[];
  readonly migrations: readonly MigrationRecord[];
}

async function billsOf(
  workspace: Workspace,
  store: JobStore,
  { comparisons, migrations, output }: Known & { readonly output: Output },
  days: number | undefined,
): Promise<readonly EndpointBill[]> {
  if (days === undefined) return [];
  if (days === 0) throw new UsageError('--bills is a number of days above 0.');
  const sides = new Map([
    ...comparisons.map(
      ({ endpoint, sides: { old, new: now } }) => [endpoint, { old: old.backend, new: now.backend }] as const,
    ),
    ...migrations.map(({ status, backends }) => [status.endpoint, backends] as const),
  ]);
  using stop = abortOnInterrupt(output, 'Stopping; nothing is reported.');
  output.note(`Reading the bills of ${[...sides.keys()].join(', ')}.`);
  return await readBills(workspace, store, { sides, days, signal: stop.signal });
}

function tell(
  output: Output,
  {
    comparisons,
    migrations,
    bills,
    written,
  }: Known & { readonly bills: readonly EndpointBill[]; readonly written: readonly string[] },
): void {
  const endpoints = comparisons.map(({ endpoint, createdAt, verdict }) => ({ endpoint, createdAt, verdict }));
  const stages = migrations.map(({ status: { endpoint, effective, permitted } }) => ({
    endpoint,
    stage: effective,
    permitted,
  }));
  output.result(
    { endpoints, stages, bills, files: written },
    [
      ...endpoints.map(
        ({ endpoint, createdAt, verdict }) => `${endpoint} (${createdAt}): ${verdict.sentence}`,
      ),
      ...stages.map(({ endpoint, stage, permitted }) => `${endpoint}: ${stage} (permitted ${permitted})`),
      ...bills.flatMap(billLines),
      ...written.map((file) => path.relative(process.cwd(), path.resolve(file))),
    ].join('\n'),
  );
}

function billLines({ endpoint, old, new: now }: EndpointBill): readonly string[] {
  return [old, now].map(({ backend, bill, jobs }) =>
    bill.isKnown
      ? `${endpoint}, ${backend}: billed $${bill.usd.toFixed(4)} for ${jobs} jobs`
      : `${endpoint}, ${backend}: no bill. ${bill.why}`,
  );
}
