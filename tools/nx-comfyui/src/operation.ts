import path from 'node:path';
import process from 'node:process';

import type { EndpointConfig } from '@ryla/workflow';
import { loadEndpoint } from '@ryla/workflow/node';

import { endpointDirectory, LOCAL_CLOUDS_ROOT } from './command-line.ts';
import { type DeploymentTarget, modalEnvironment, parseTarget } from './deployment-target.ts';
import type { Variables } from './modal-command.ts';

/** What a program that operates a deployment was asked. */
export interface Operation {
  /** The endpoint's name. */
  readonly endpoint: string;
  readonly directory: string;
  /** The endpoint's app on Modal. */
  readonly app: string;
  readonly target: DeploymentTarget;
  /** The target in words. */
  readonly description: string;
  /** What `modal` is started with. */
  readonly variables: Variables;
  /** Arguments that this program does not know itself. */
  readonly rest: readonly string[];
}

/**
 * Reads `<folder of the endpoint> [--target local|cloud] […]`. Everything else is left for the program behind it.
 *
 * @throws {Error} that says what to give, or how to reach the target.
 */
export function readOperation(argv: readonly string[], env: Variables = process.env): Operation {
  const [folder, ...others] = argv;
  const directory = endpointDirectory(folder === undefined ? [] : [folder]);
  const { target, rest } = takeTarget(others);
  const endpoint = path.basename(directory);
  return {
    endpoint,
    directory,
    app: `ryla-${endpoint}`,
    target,
    rest,
    ...modalEnvironment(target, LOCAL_CLOUDS_ROOT, env),
  };
}

/** The endpoint.json of an operation; `validate` says more about a broken one. */
export function configOf({ directory }: Operation): EndpointConfig {
  return loadEndpoint(directory).config;
}

function takeTarget(args: readonly string[]): { target: DeploymentTarget; rest: string[] } {
  const rest: string[] = [];
  let target: DeploymentTarget = 'local';
  for (let index = 0; index < args.length; index += 1) {
    const arg = args[index] ?? '';
    if (arg === '--target') target = parseTarget(args[(index += 1)] ?? '');
    else if (arg.startsWith('--target=')) target = parseTarget(arg.slice('--target='.length));
    else rest.push(arg);
  }
  return { target, rest };
}
