/** The command line of `npm run test:migration`. */
import { parseArgs } from 'node:util';

/** What a run is like. */
export interface RunOptions {
  /** Jobs a second that the client asks for, over both endpoints. */
  readonly rate: number;
  readonly seed: number;
  /** Bytes and files on the network volume. */
  readonly bytes: number;
  readonly files: number;
  /** Runs of the comparison, for each endpoint. */
  readonly runs: number;
  readonly json: boolean;
  readonly keep: boolean;
}

/** Text of --help. */
export const USAGE = `Usage: npm run test:migration -- [options]

A whole migration of Flux Schnell and Z-Image Turbo on the local clouds, in a clone of this workspace: import, volume copy,
deploy, comparison, shadow, canary, an error that is injected and rolled back, live, ramp-down, complete, finish, and the
deletion of what is left on RunPod. A client process asks three service processes for pictures all the time. Every step is a command of \`ryla\`; at the end everything is
counted. Takes about a quarter of an hour; nothing of this workspace is changed.

  --rate N     jobs a second over both endpoints (2)
  --seed N     decides prompts and seeds (1)
  --gb N       size of the network volume in GB (1.1)
  --files N    files on it (520)
  --runs N     runs of each comparison (8)
  --keep       leave the folder: workspace, reports, logs, transcript of every command
  --json       the result as one JSON document on stdout

Exit code 0: everything held. 1: something did not; it says what. 130: Ctrl-C.`;

/** A wrong command line. */
export class WrongUsage extends Error {}

/** Reads the command line; undefined asks for help. @throws {WrongUsage} */
export function readOptions(args: readonly string[]): RunOptions | undefined {
  const { values } = parsed(args);
  if (values.help) return undefined;
  return {
    rate: number('rate', values.rate),
    seed: whole('seed', values.seed),
    bytes: number('gb', values.gb) * 1e9,
    files: whole('files', values.files),
    runs: whole('runs', values.runs),
    json: values.json,
    keep: values.keep,
  };
}

function parsed(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        rate: { type: 'string', default: '2' },
        seed: { type: 'string', default: '1' },
        gb: { type: 'string', default: '1.1' },
        files: { type: 'string', default: '520' },
        runs: { type: 'string', default: '8' },
        json: { type: 'boolean', default: false },
        keep: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    throw new WrongUsage(error instanceof Error ? error.message : String(error));
  }
}

function number(name: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new WrongUsage(`--${name} is a number above 0, not ${text}.`);
}

function whole(name: string, text: string): number {
  const value = number(name, text);
  if (Number.isSafeInteger(value)) return value;
  throw new WrongUsage(`--${name} is a whole number, not ${text}.`);
}
