import type { ApiWorkflow } from './api-workflow.ts';
import type { EndpointConfig, EndpointInput } from './endpoint-config.ts';
import type { FileInput, InputValue, InputValues } from './endpoint-definition.ts';
import type { Json } from './json-value.ts';
import { WorkflowError } from './workflow-error.ts';

/** A file that must reach ComfyUI under `name` before the workflow runs. */
export interface StagedFile {
  /** Input of the endpoint that it was given for. */
  readonly input: string;
  /** What the node's input is set to. */
  readonly name: string;
  readonly source: FileInput | { readonly defaultFile: string };
}

/** A workflow with its inputs set, and the files it needs. */
export interface AppliedInputs {
  readonly workflow: ApiWorkflow;
  readonly files: readonly StagedFile[];
}

const FILE_TYPES = new Set(['image', 'mask', 'video', 'audio']);

/**
 * Sets an endpoint's inputs in its workflow. Neither the workflow nor the values are changed; nodes without
 * an input are shared with the original.
 *
 * @throws {WorkflowError} `unknown_input`, `missing_input` or `invalid_input`, with the input's name.
 */
export function applyInputs(
  config: EndpointConfig,
  workflow: ApiWorkflow,
  values: InputValues,
): AppliedInputs {
  for (const name of Object.keys(values)) {
    if (!Object.hasOwn(config.inputs, name)) {
      throw new WorkflowError(
        'unknown_input',
        `Endpoint ${config.name} has no input "${name}". It has: ${Object.keys(config.inputs).join(', ') || 'none'}.`,
        { input: name },
      );
    }
  }
  const changes = new Map<string, Record<string, Json>>();
  const files: StagedFile[] = [];
  for (const [name, input] of Object.entries(config.inputs)) {
    const value = values[name] ?? input.default;
    if (value === undefined) {
      if (input.required)
        throw new WorkflowError('missing_input', `Endpoint ${config.name} needs the input "${name}".`, {
          input: name,
        });
      continue;
    }
    let placed: Json;
    if (FILE_TYPES.has(input.type)) {
      const file = stagedFile(config.name, name, value, values[name] === undefined);
      files.push(file);
      placed = file.name;
    } else {
      placed = checkedValue(config.name, name, input, value);
    }
    for (const target of [input, ...(input.also ?? [])]) {
      const fields = changes.get(target.node) ?? {};
      changes.set(target.node, fields);
      fields[target.field] = placed;
    }
  }
  return { workflow: withChanges(config, workflow, changes), files };
}

function withChanges(
  config: EndpointConfig,
  workflow: ApiWorkflow,
  changes: ReadonlyMap<string, Record<string, Json>>,
): ApiWorkflow {
  const applied: Record<string, ApiWorkflow[string]> = { ...workflow };
  for (const [nodeId, fields] of changes) {
    const node = workflow[nodeId];
    if (node === undefined) {
      throw new WorkflowError(
        'invalid_endpoint',
        `An input of endpoint ${config.name} is for node ${nodeId}, which its workflow does not have.`,
        { nodeId },
      );
    }
    applied[nodeId] = { ...node, inputs: { ...node.inputs, ...fields } };
  }
  return applied;
}

function stagedFile(endpoint: string, input: string, value: InputValue, isDefault: boolean): StagedFile {
  if (isDefault && typeof value === 'string')
    return { input, name: stagedName(input, value), source: { defaultFile: value } };
  if (typeof value === 'object' && 'path' in value)
    return { input, name: stagedName(input, value.path), source: value };
  if (typeof value === 'object' && 'url' in value)
    return { input, name: stagedName(input, value.name ?? pathOf(value.url)), source: value };
  if (typeof value === 'object') return { input, name: stagedName(input, value.name), source: value };
  throw new WorkflowError(
    'invalid_input',
    `Input "${input}" of endpoint ${endpoint} is a file: give { path }, { url }, { name, bytes } or { name, stream }.`,
    { input },
  );
}

/** The path of an address, without its query: what tells the kind of the file. */
function pathOf(url: string): string {
  return URL.canParse(url) ? new URL(url).pathname : '';
}

/** A plain file name that keeps the extension, by which ComfyUI knows the kind. */
function stagedName(input: string, original: string): string {
  const extension = /\.[A-Za-z0-9]{1,8}$/.exec(original)?.[0] ?? '';
  return `${input}${extension.toLowerCase()}`;
}

function checkedValue(endpoint: string, name: string, input: EndpointInput, value: InputValue): Json {
  const fail = (expected: string): never => {
    throw new WorkflowError(
      'invalid_input',
      `Input "${name}" of endpoint ${endpoint} must be ${expected}, not ${shown(value)}.`,
      {
        input: name,
        nodeId: input.node,
      },
    );
  };
  switch (input.type) {
    case 'string':
    case 'text':
      if (typeof value !== 'string') return fail('a text');
      if (input.maxLength !== undefined && value.length > input.maxLength)
        return fail(`at most ${input.maxLength} characters long`);
      return value;
    case 'integer':
    case 'number':
      if (typeof value !== 'number' || !Number.isFinite(value)) return fail('a number');
      if (input.type === 'integer' && !Number.isInteger(value)) return fail('a whole number');
      if (input.minimum !== undefined && value < input.minimum) return fail(`at least ${input.minimum}`);
      if (input.maximum !== undefined && value > input.maximum) return fail(`at most ${input.maximum}`);
      return value;
    case 'boolean':
      return typeof value === 'boolean' ? value : fail('true or false');
    case 'enum':
      return typeof value === 'string' && input.values.includes(value)
        ? value
        : fail(`one of ${input.values.join(', ')}`);
    default:
      return fail('a file');
  }
}

function shown(value: InputValue): string {
  if (typeof value === 'object') return 'a file';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

/**
 * Reads the text of a command line as a value of an input's type: `7` for an integer, a path for a file.
 *
 * @throws {WorkflowError} `unknown_input` or `invalid_input`.
 */
export function parseInputText(config: EndpointConfig, name: string, text: string): InputValue {
  const input = config.inputs[name];
  if (input === undefined) {
    const known = Object.keys(config.inputs).join(', ') || 'none';
    throw new WorkflowError(
      'unknown_input',
      `Endpoint ${config.name} has no input "${name}". It has: ${known}.`,
      { input: name },
    );
  }
  if (FILE_TYPES.has(input.type)) return { path: text };
  if (input.type === 'integer' || input.type === 'number') {
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value)) {
      throw new WorkflowError(
        'invalid_input',
        `Input "${name}" of endpoint ${config.name} must be a number, not "${text}".`,
        { input: name },
      );
    }
    return value;
  }
  if (input.type !== 'boolean') return text;
  if (text === 'true' || text === 'false') return text === 'true';
  throw new WorkflowError(
    'invalid_input',
    `Input "${name}" of endpoint ${config.name} must be true or false, not "${text}".`,
    { input: name },
  );
}
