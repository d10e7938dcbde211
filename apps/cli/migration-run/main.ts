/** `npm run test:migration`: see options.ts, and docs/migration-runbook.md. */
import process from 'node:process';

import type { Counted } from './count.ts';
import { migrationRun } from './migration-run.ts';
import { readOptions, type RunOptions, USAGE, WrongUsage } from './options.ts';

const EXIT = { held: 0, failed: 1, usage: 2, interrupted: 130 } as const;

/** Aborted by the first Ctrl-C; the second ends at once. */
function interrupted(): AbortSignal {
  const stop = new AbortController();
  const interrupt = (): void => {
    if (stop.signal.aborted) process.exit(EXIT.interrupted);
    console.error('Stopping the services and the clouds …');
    stop.abort();
  };
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, interrupt);
  return stop.signal;
}

function tableOf({ checks }: Counted): string {
  const width = Math.max(...checks.map(({ name }) => name.length));
  return checks
    .map(({ name, held, found }) => `${held ? 'ok ' : 'BAD'}  ${name.padEnd(width)}  ${found}`)
    .join('\n');
}

async function main(options: RunOptions): Promise<number> {
  const signal = interrupted();
  const tell = (line: string): void => console.error(line);
  try {
    const counted = await migrationRun(options, tell, signal);
    console.log(options.json ? JSON.stringify(counted, undefined, 2) : `\n${tableOf(counted)}`);
    return counted.held ? EXIT.held : EXIT.failed;
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    console.error(error instanceof Error ? error.message : error);
    return EXIT.failed;
  }
}

try {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) console.log(USAGE);
  else process.exitCode = await main(options);
} catch (error) {
  if (!(error instanceof WrongUsage)) throw error;
  console.error(`${error.message}\n\n${USAGE}`);
  process.exitCode = EXIT.usage;
}
process.exit();
