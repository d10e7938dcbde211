/** `ryla migrate compare`. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';

import { createServiceFromConfig, migrationPath, openStore } from '@ryla/business/config';
import {
  backendsOf,
  type Comparison,
  type CompareProgress,
  compareBackends,
  type EndpointMigration,
  migrationOf,
  parseMigrationFile,
} from '@ryla/migration';

import { EXIT } from '../exit-codes.ts';
import { dollars, duration, type Output } from '../output.ts';
import type { ProgressStream } from '../progress.ts';
import type { Workspace } from '../workspace.ts';
import { compareInputs } from './compare-inputs.ts';
import { comparing } from './comparing.ts';
import { keepComparison } from './comparison-files.ts';
import { type LoadOptions, volumeOf } from './load.ts';
import { abortOnInterrupt, inTarget } from './migration-place.ts';
import { migrationsOf, writeReport } from './report-command.ts';
import { createVideoDecoder, videoProgram } from './video-frames.ts';

/** Options of `compare`. */
export interface CompareOptions extends LoadOptions {
  readonly runs: number;
  readonly input?: readonly string[];
  readonly inputs?: string;
  readonly seed: number;
  readonly out?: string;
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
    const opened = await createServiceFromConfig(comparing(workspace), [endpoint.config]);
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
      await using store = await openStore(workspace);
      const files = await writeReport(out, {
        comparisons: [comparison],
        migrations: await migrationsOf(workspace, store, [name]),
        volumes: volume === undefined ? {} : { [name]: volume },
      });
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

/** What the migration file says of the endpoint; the default sides without one. */
async function migrationOr(workspace: Workspace, name: string): Promise<Pick<EndpointMigration, 'backends'>> {
  const file = migrationPath(workspace);
  if (file === undefined) return {};
  const read = parseMigrationFile(await readFile(file, 'utf8'));
  return Object.hasOwn(read.endpoints, name) ? migrationOf(read, name) : {};
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
