import { type EndpointConfig, type InputValue, WorkflowError } from '@ryla/workflow';

import { isFileInput } from './endpoint-tool.ts';
import { type FileAccess, fileArgument } from './file-argument.ts';

/**
 * The inputs of an endpoint from what an agent sends. What is `null` counts as left out; what the endpoint does not
 * know is passed on for the service to refuse, which lists what there is.
 *
 * @throws {WorkflowError} `invalid_input` for a value of no type that an input can have, or a file that may not be read.
 */
export async function inputsOfArguments(
  { name: endpoint, inputs }: Pick<EndpointConfig, 'name' | 'inputs'>,
  values: Readonly<Record<string, unknown>>,
  access: FileAccess,
): Promise<Record<string, InputValue>> {
  const found: [string, InputValue][] = [];
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined) continue;
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') {
      throw new WorkflowError(
        'invalid_input',
        `Input "${name}" of endpoint ${endpoint} must be a text, a number, or true or false.`,
        { input: name },
      );
    }
    const type = Object.hasOwn(inputs, name) ? inputs[name]?.type : undefined;
    const isFile = type !== undefined && isFileInput(type) && typeof value === 'string';
    found.push([name, isFile ? await fileArgument(name, type, value, access) : value]);
  }
  return Object.fromEntries(found);
}
