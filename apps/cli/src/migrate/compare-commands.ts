/** `ryla migrate compare` and `ryla migrate report`. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';

import {
  type ConfiguredService,
  createServiceFromConfig,
  migrationPath,
  openStore,
  type ResolvedConfig,
} from '@ryla/business/config';
import {
  backendsOf,
  type Comparison,
  type CompareProgress,
  compareBackends,
  createMigration,
  createReport,
  type EndpointMigration,
  type MigrationStatus,
  migrationOf,
  parseMigrationFile,
  type Volume,
} from '@ryla/migration';
import type { EndpointDefinition } from '@ryla/workflow';

import { EXIT, UsageError } from '../exit-codes.ts';
import { dollars, duration, type Output } from '../output.ts';
import type { ProgressStream } from '../progress.ts';
import type { Workspace } from '../workspace.ts';
import { compareInputs } from './compare-inputs.ts';
import { keepComparison, newestComparisons } from './comparison-files.ts';
import { abortOnInterrupt, inTarget, type MigrateOptions } from './migration-place.ts';
import { findingLines, gateTable } from './stage-report.ts';
import { createVideoDecoder, videoProgram } from './video-frames.ts';

interface LoadOptions extends MigrateOptions {
  readonly jobsPerMonth?: number;
  readonly hoursPerDay?: number;
}

/** Options of `compare`. */
export interface CompareOptions extends LoadOptions {
  readonly runs: number;
  readonly input?: readonly string[];
  readonly inputs?: string;
  readonly seed: number;
  readonly out?: string;
}

/** Options of `report`. */
export interface ReportOptions extends LoadOptions {
  readonly out: string;
}

/** Runs the same inputs on both sides, on a job store of its own, and writes the report. */
export async function compare(name: string, options: CompareOptions): Promise<void> {
  await inTarget(options, async (workspace, output) => {
    const endpoint = workspace.endpoint(name);
    const volume = volumeOf(options);
    const inputs = compareInputs(endpoint, options);
    const backends = backendsOf(await migrationOr(workspace, name), name);
    const { runs, seed } = options;
    output.note(`${runs} runs, ${runs * 3} jobs: ${backends.old} twice and ${backends.new} once for each.`);
    const opened = await openApart(workspace, endpoint);
    await using service = opened.service;
    for (const backend of [backends.old, backends.new]) {
      const reason = opened.unusable.get(backend);
      if (reason !== undefined) throw reason.within({ endpoint: name, backend });
    }
    using stop = abortOnInterrupt(output, 'Canceling the job that runs; nothing is reported.');
    const show = progressLine();
    const idleSeconds = endpoint.config.scaling.scaledownWindow;
    try {
      const comparison = await compareBackends({
        service,
        endpoint,
        inputs,
        runs,
        seed,
        signal: stop.signal,
        videoFrames: createVideoDecoder(videoProgram(workspace.root)),
        ...(volume === undefined ? {} : { volume }),
        old: { backend: backends.old, idleSeconds },
        new: { backend: backends.new, idleSeconds },
        onProgress: show.progress,
      });
      show.close();
      const kept = await keepComparison(workspace, comparison);
      const out = options.out ?? path.join('out/migration', name);
      const files = await writeReport(out, [comparison], { [name]: volume });
      const comparisonFile = path.join(out, 'comparison.json');
      await writeFile(comparisonFile, `${JSON.stringify(comparison)}\n`);
      tell(output, comparison, [...files, comparisonFile], kept);
    } catch (error) {
      show.close();
      if (!stop.signal.aborted) throw error;
      process.exitCode = EXIT.interrupted;
    }
  });
}

/** One report of the newest comparisons, with stages and gates. */
export async function report(files: readonly string[], options: ReportOptions): Promise<void> {
  await inTarget(options, async (workspace, output) => {
    const comparisons = await newestComparisons(workspace, files);
    if (comparisons.length === 0)
      throw new UsageError(
        'No comparison is kept for this target: `ryla migrate compare <endpoint>` makes one.',
      );
    const volume = volumeOf(options);
    const volumes = Object.fromEntries(comparisons.map(({ endpoint }) => [endpoint, volume]));
    const statuses = await statusesOf(workspace);
    const written = await writeReport(options.out, comparisons, volumes, stagesMarkdown(statuses));
    const stages = path.join(options.out, 'stages.json');
    await writeFile(stages, `${JSON.stringify(statuses, null, 2)}\n`);
    const endpoints = comparisons.map(({ endpoint, createdAt, verdict }) => ({
      endpoint,
      createdAt,
      verdict,
    }));
    output.result(
      { endpoints, files: [...written, stages] },
      [
        ...endpoints.map(
          ({ endpoint, createdAt, verdict }) => `${endpoint} (${createdAt}): ${verdict.sentence}`,
        ),
        ...[...written, stages].map((file) => path.relative(process.cwd(), path.resolve(file))),
      ].join('\n'),
    );
  });
}

function tell(output: Output, comparison: Comparison, files: readonly string[], kept: string): void {
  const { endpoint, verdict, checks } = comparison;
  output.result(
    { endpoint, verdict, checks, files, kept },
    [
      verdict.sentence,
      ...checks.map(({ name, state, text }) => `  ${name}: ${state}. ${text}`),
      ...files.map((file) => path.relative(process.cwd(), path.resolve(file))),
    ].join('\n'),
  );
}

/** A month's volume; undefined where none is told. */
export function volumeOf({ jobsPerMonth, hoursPerDay }: LoadOptions): Volume | undefined {
  if (jobsPerMonth === undefined) {
    if (hoursPerDay !== undefined) throw new UsageError('--hours-per-day belongs to --jobs-per-month.');
    return undefined;
  }
  if (hoursPerDay !== undefined && (hoursPerDay === 0 || hoursPerDay > 24))
    throw new UsageError('--hours-per-day is above 0 and at most 24.');
  return { jobsPerMonth, ...(hoursPerDay === undefined ? {} : { hoursPerDay }) };
}

async function writeReport(
  folder: string,
  comparisons: readonly Comparison[],
  volumes: Readonly<Record<string, Volume | undefined>>,
  more = '',
): Promise<readonly string[]> {
  const known = Object.entries(volumes).filter((entry): entry is [string, Volume] => entry[1] !== undefined);
  const made = await createReport({ comparisons, volumes: Object.fromEntries(known) });
  await mkdir(folder, { recursive: true });
  const contents = { html: made.html, md: `${made.markdown}${more}`, json: made.json };
  const files: string[] = [];
  for (const [kind, content] of Object.entries(contents)) {
    const file = path.join(folder, `report.${kind}`);
    await writeFile(file, content);
    files.push(file);
  }
  return files;
}

/** Stages and gates as Markdown; empty without a migration. */
export function stagesMarkdown(statuses: readonly MigrationStatus[]): string {
  if (statuses.length === 0) return '';
  const sections = statuses.flatMap(({ endpoint, effective, permitted, next, gates, blockers }) => [
    `### ${endpoint}: ${effective} (permitted ${permitted})`,
    '',
    ...(gates.length === 0 ? [] : ['```', gateTable(gates), '```', '']),
    ...(next === undefined || blockers.length === 0
      ? []
      : [`Before ${next}:`, '', ...findingLines(blockers), '']),
  ]);
  return `\n## Stages and gates\n\n${sections.join('\n')}`;
}

async function statusesOf(workspace: Workspace): Promise<readonly MigrationStatus[]> {
  const file = migrationPath(workspace);
  if (file === undefined) return [];
  await using store = await openStore(workspace);
  return await createMigration({ store, fileText: () => readFile(file, 'utf8') }).statuses();
}

/** What the migration file says of the endpoint; the default sides without one. */
async function migrationOr(workspace: Workspace, name: string): Promise<Pick<EndpointMigration, 'backends'>> {
  const file = migrationPath(workspace);
  if (file === undefined) return {};
  const read = parseMigrationFile(await readFile(file, 'utf8'));
  return Object.hasOwn(read.endpoints, name) ? migrationOf(read, name) : {};
}

/** A service with a job store of its own, so that the gates of the stages do not count these jobs. */
async function openApart(
  { root, target, env, config }: Workspace,
  endpoint: EndpointDefinition,
): Promise<ConfiguredService> {
  const { routes: _routes, usdPerDay: _usd, ...rest } = config;
  const state = path.join(config.state ?? '.ryla', 'compare');
  const resolved: ResolvedConfig = { root, target, env, config: { ...rest, state, migration: false } };
  return await createServiceFromConfig(resolved, [endpoint.config]);
}

/** Says how far it is: one line on a terminal, a line for each job elsewhere. */
export function progressLine(stream: ProgressStream = process.stderr): {
  readonly progress: (progress: CompareProgress) => void;
  readonly close: () => void;
} {
  const isTerminal = stream.isTTY === true;
  let isOpen = false;
  return {
    progress({ done, total, job }) {
      const text = `${done} of ${total}: ${job.backend} ${job.status}, ${duration(job.totalMs)}, ${dollars(job.usd)}`;
      stream.write(isTerminal ? `\r\x1b[K${text.slice(0, (stream.columns ?? 80) - 1)}` : `${text}\n`);
      isOpen = isTerminal;
    },
    close() {
      if (isOpen) stream.write('\n');
      isOpen = false;
    },
  };
}
