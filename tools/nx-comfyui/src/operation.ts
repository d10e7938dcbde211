import path from 'node:path';
import process from 'node:process';

import { PROVIDERS, type Provider } from '@ryla/business/config';
import type { EndpointConfig } from '@ryla/workflow';
import { loadEndpoint } from '@ryla/workflow/node';

import { endpointDirectory, LOCAL_CLOUDS_ROOT } from './command-line.ts';
import { type DeploymentTarget, modalEnvironment, parseTarget } from './deployment-target.ts';
import type { Variables } from './modal-command.ts';

/** What a program that operates a deployment was asked; the options are those of `ryla deploy`. */
export interface Operation {
  /** The endpoint's name. */
  readonly endpoint: string;
  readonly directory: string;
  readonly target: DeploymentTarget;
  /** The cloud that was named. */
  readonly provider: Provider | undefined;
  /** Modal's environment, or RunPod's marker; the default one without it. */
  readonly environment: string | undefined;
  /** Arguments that this program does not know itself. */
  readonly rest: readonly string[];
}

/** The same on Modal. */
export interface ModalOperation extends Operation {
  /** The endpoint's app on Modal. */
  readonly app: string;
  /** The target in words. */
  readonly description: string;
  /** What `modal` is started with. */
  readonly variables: Variables;
}

/**
 * Reads `<folder of the endpoint> [--target local|cloud] [--provider modal|runpod] [--environment name] […]`. Everything else
 * is left for the program behind it.
 *
 * @throws {Error} that says what to give.
 */
export function readOperation(argv: readonly string[]): Operation {
  const [folder, ...others] = argv;
  const directory = endpointDirectory(folder === undefined ? [] : [folder]);
  const { values, rest } = takeOptions(others, ['--target', '--provider', '--environment']);
  return {
    endpoint: path.basename(directory),
    directory,
    target: parseTarget(values.get('--target') ?? 'local'),
    provider: parseProvider(values.get('--provider')),
    environment: values.get('--environment'),
    rest,
  };
}

/**
 * How an operation reaches Modal.
 *
 * @throws {Error} that says how to reach the target.
 */
export function onModal(operation: Operation, env: Variables = process.env): ModalOperation {
  const { description, variables } = modalEnvironment(operation.target, LOCAL_CLOUDS_ROOT, env);
  const { environment } = operation;
  const chosen = environment === undefined ? {} : { MODAL_ENVIRONMENT: environment };
  return {
    ...operation,
    app: `ryla-${operation.endpoint}`,
    description: environment === undefined ? description : `${description}, environment ${environment}`,
    variables: { ...variables, ...chosen },
  };
}

/**
 * The same for a program that there is for Modal alone.
 *
 * @throws {Error} where another cloud was named.
 */
export function onlyOnModal(operation: Operation, program: string): ModalOperation {
  if (operation.provider === 'runpod') throw new Error(`${program} is there for Modal only, not for RunPod.`);
  return onModal(operation);
}

/** The endpoint.json of an operation; `validate` says more about a broken one. */
export function configOf({ directory }: Operation): EndpointConfig {
  return loadEndpoint(directory).config;
}

function parseProvider(text: string | undefined): Provider | undefined {
  if (text === undefined) return undefined;
  const found = PROVIDERS.find((provider) => provider === text);
  if (found === undefined) throw new Error(`--provider is ${PROVIDERS.join(' or ')}, not "${text}".`);
  return found;
}

function takeOptions(
  args: readonly string[],
  names: readonly string[],
): { readonly values: ReadonlyMap<string, string>; readonly rest: readonly string[] } {
  const rest: string[] = [];
  const values = new Map<string, string>();
  for (let index = 0; index < args.length; index += 1) {
    const arg = args[index] ?? '';
    const name = names.find((each) => arg === each || arg.startsWith(`${each}=`));
    if (name === undefined) {
      rest.push(arg);
      continue;
    }
    const value = arg === name ? args[(index += 1)] : arg.slice(name.length + 1);
    if (value === undefined || value === '') throw new Error(`${name} needs a value.`);
    values.set(name, value);
  }
  return { values, rest };
}
