import path from 'node:path';

import { Command, InvalidArgumentError, Option } from 'commander';

/** Backends that `npm start` knows how to bring up on this machine. */
export const BACKENDS = ['modal', 'runpod'] as const;

/** One of {@link BACKENDS}. */
export type Backend = (typeof BACKENDS)[number];

/** What the command line of `npm start` asks for. */
export interface StartOptions {
  readonly endpoint: string;
  readonly backends: readonly Backend[];
  /** Raw `name=value` pairs; the endpoint's own types decide what a value means. */
  readonly inputs: Readonly<Record<string, string>>;
  /** Folder for the outputs: absolute, or relative to where the command was run. */
  readonly out: string;
  readonly keep: boolean;
  readonly json: boolean;
  /** Longest time for one job, in seconds. */
  readonly timeout: number;
  readonly verbose: boolean;
}

/**
 * Reads the command line of `npm start`.
 * `--help` and a usage error leave by commander's own exit (codes 0 and 1), with the text on the right stream.
 *
 * @param endpoints names of the endpoints in this workspace, for the help text and the check.
 */
export function parseStartOptions(argv: readonly string[], endpoints: readonly string[]): StartOptions {
  const command = new Command('npm start --')
    .description(
      'Runs one workflow endpoint through Modal and RunPod on this machine, without an account:\n' +
        'starts the local clouds, deploys with the real `modal deploy`, starts the real `runpod` worker,\n' +
        'sends the same inputs to both, saves the outputs, compares them, and stops everything.',
    )
    .addOption(
      new Option('-e, --endpoint <name>', 'workflow endpoint to run')
        .choices(endpoints)
        .default(defaultEndpoint(endpoints)),
    )
    .addOption(
      new Option('-b, --backend <name>', 'backend to run it on; repeat for several (default: all)')
        .choices(BACKENDS)
        .argParser((value: string, before: Backend[] | undefined) => [...(before ?? []), backend(value)]),
    )
    .option(
      '-i, --input <name=value>',
      'set an input; repeat for several; a file input takes a path',
      collectInput,
      {},
    )
    .option('-o, --out <folder>', 'where the outputs go', 'out')
    .option(
      '--keep',
      'leave the local clouds running afterwards, print their URLs and how to point other tools at them',
      false,
    )
    .option(
      '--json',
      'print one JSON document on stdout and nothing else (with `npm start --silent -- --json`)',
      false,
    )
    .option('--timeout <seconds>', 'longest time for one job', positiveNumber, 600)
    .option('-v, --verbose', 'show what the clouds and the workers log', false)
    .addHelpText(
      'after',
      `
Examples:
  npm start
  npm start -- --endpoint flux-schnell --input prompt="a lighthouse at dusk" --input seed=7
  npm start -- --input image=photo.png --backend modal
  npm start --silent -- --json > result.json

Endpoints: ${endpoints.join(', ')}
Inputs of an endpoint: apps/endpoints/<name>/README.md

Environment:
  COMFYUI_DIR     folder of a real ComfyUI (with main.py), used instead of the simulator
  COMFYUI_PYTHON  the Python that it runs with
  COMFYUI_ARGS    more arguments for it, such as --cpu
  COMFYUI_URL     or the address of a ComfyUI that is running already`,
    );
  command.parse(argv, { from: 'user' });
  const options = command.opts<{
    endpoint: string;
    backend?: Backend[];
    input: Record<string, string>;
    out: string;
    keep: boolean;
    json: boolean;
    timeout: number;
    verbose: boolean;
  }>();
  return {
    endpoint: options.endpoint,
    backends: options.backend === undefined ? BACKENDS : [...new Set(options.backend)],
    inputs: options.input,
    out: path.resolve(options.out),
    keep: options.keep,
    json: options.json,
    timeout: options.timeout,
    verbose: options.verbose,
  };
}

function defaultEndpoint(endpoints: readonly string[]): string {
  return endpoints.includes('photo-finish') ? 'photo-finish' : (endpoints[0] ?? '');
}

function backend(value: string): Backend {
  const found = BACKENDS.find((name) => name === value);
  if (found === undefined) throw new InvalidArgumentError(`Allowed choices are ${BACKENDS.join(', ')}.`);
  return found;
}

function collectInput(pair: string, before: Record<string, string>): Record<string, string> {
  const at = pair.indexOf('=');
  if (at < 1)
    throw new InvalidArgumentError('Write it as name=value, for example --input prompt="a red fox".');
  return { ...before, [pair.slice(0, at)]: pair.slice(at + 1) };
}

function positiveNumber(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0)
    throw new InvalidArgumentError('Give a number of seconds above 0.');
  return value;
}
