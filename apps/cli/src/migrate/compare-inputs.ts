/** Inputs of a comparison's runs. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { variedInputs } from '@ryla/migration';
import { type EndpointDefinition, type InputValue, parseInputText, WorkflowError } from '@ryla/workflow';

import { UsageError } from '../exit-codes.ts';

/** One set of inputs. */
export type Inputs = Readonly<Record<string, InputValue | undefined>>;

/** Where inputs come from. */
export interface InputSource {
  /** `name=value`, for every run. */
  readonly input?: readonly string[];
  /** JSON file: one set, or a list of them. */
  readonly inputs?: string;
  readonly runs: number;
  readonly seed: number;
}

/**
 * The sets of inputs, in turn; a single one gets other seeds for each run, so that no worker answers from its cache.
 *
 * @throws {UsageError} for a file that is none, or an input that the endpoint does not take.
 */
export function compareInputs(endpoint: EndpointDefinition, source: InputSource): readonly Inputs[] {
  const common = Object.fromEntries((source.input ?? []).map((text) => pair(endpoint, text)));
  const sets: readonly Inputs[] = source.inputs === undefined ? [{}] : setsOf(endpoint, source.inputs);
  const whole = sets.map((set): Inputs => ({ ...common, ...set }));
  const [only, ...others] = whole;
  if (only === undefined) throw new UsageError(`${source.inputs ?? ''} holds no set of inputs.`);
  return others.length > 0 ? whole : variedInputs(endpoint, only, source.runs, source.seed);
}

function pair(endpoint: EndpointDefinition, text: string): readonly [string, InputValue] {
  const at = text.indexOf('=');
  if (at < 1) throw new UsageError(`Write an input as name=value, not "${text}".`);
  const name = text.slice(0, at);
  return [name, valueOf(endpoint, name, text.slice(at + 1), process.cwd())];
}

function setsOf(endpoint: EndpointDefinition, file: string): readonly Inputs[] {
  let read: unknown;
  try {
    read = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new UsageError(`${file} cannot be read as JSON.`, 'invalid_input', { cause });
  }
  const folder = path.dirname(path.resolve(file));
  return (Array.isArray(read) ? read : [read]).map((set: unknown, index) => {
    if (typeof set !== 'object' || set === null || Array.isArray(set))
      throw new UsageError(`Set ${index} of ${file} is no object of inputs.`, 'invalid_input');
    return Object.fromEntries(
      Object.entries(set).map(([name, value]: [string, unknown]) => {
        if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean')
          throw new UsageError(
            `Input "${name}" of set ${index} of ${file} is no text, number or truth value.`,
            'invalid_input',
          );
        return [name, valueOf(endpoint, name, String(value), folder)];
      }),
    );
  });
}

/** Files are named from the folder. */
function valueOf({ config }: EndpointDefinition, name: string, text: string, folder: string): InputValue {
  try {
    const value = parseInputText(config, name, text);
    return typeof value === 'object' && 'path' in value ? { path: path.resolve(folder, value.path) } : value;
  } catch (error) {
    if (!WorkflowError.isInstance(error)) throw error;
    throw new UsageError(error.message, error.code, { cause: error });
  }
}
