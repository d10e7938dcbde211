import type { EndpointConfig, EndpointInput } from '@ryla/workflow';

import { clientNames } from './identifiers.ts';
import { isFile, isNeeded, limitsOf } from './input-words.ts';

/** First line of a client that `nx sync` keeps true; a file without it is somebody's own. */
export const CLIENT_MARK = '`npx nx sync` writes this file from endpoint.json';

/** The module client.ts of an endpoint: a zod schema of its inputs, types, and the endpoint itself. */
export function clientSource(config: EndpointConfig): string {
  const { name } = config;
  const { constant, type } = clientNames(name);
  const inputs = Object.entries(config.inputs);
  const hasFiles = inputs.some(([, input]) => isFile(input));
  const outputs = Object.keys(config.outputs).map((output) => `'${output}'`);
  return [
    `/** Typed client of the endpoint ${name}. ${CLIENT_MARK}: edit that instead. */`,
    ...(hasFiles ? [`import type { FileInput } from '@ryla/workflow';`] : []),
    `import { loadEndpoint } from '@ryla/workflow/node';`,
    `import { z } from 'zod';`,
    '',
    ...(hasFiles ? [FILE, ''] : []),
    `/** Checks inputs of ${name} that come from outside. */`,
    `export const ${constant}Inputs = z.strictObject({`,
    ...inputs.flatMap(([input, declared]) => [...comment(declared), `${input}: ${schemaOf(declared)},`]),
    '});',
    '',
    `/** Inputs of the endpoint ${name}. */`,
    `export type ${type}Inputs = z.infer<typeof ${constant}Inputs>;`,
    '',
    `/** Names of the endpoint's outputs. */`,
    `export type ${type}Outputs = ${outputs.join(' | ') || 'never'};`,
    '',
    `/** The endpoint ${name}, for \`service.run(${constant}, { … })\`. */`,
    `export const ${constant} = loadEndpoint<${type}Inputs, ${type}Outputs>(import.meta.dirname);`,
    '',
  ].join('\n');
}

const FILE = [
  'const file = z.custom<FileInput>(',
  `(value) => typeof value === 'object' && value !== null,`,
  `'a file: { path }, { url }, { name, bytes } or { name, stream }',`,
  ');',
].join('\n');

function comment(input: EndpointInput): string[] {
  const limits = limitsOf(input);
  const text = [sentence(input.description ?? input.title ?? ''), limits === '' ? '' : sentence(limits)]
    .filter((part) => part !== '')
    .join(' ');
  return text === '' ? [] : [`/** ${text.replaceAll('*/', '*\\/').replace(/\s+/g, ' ')} */`];
}

function sentence(text: string): string {
  const trimmed = text.trim();
  return trimmed === '' || /[.!?…]$/.test(trimmed) ? trimmed : `${trimmed}.`;
}

function schemaOf(input: EndpointInput): string {
  return `${valueSchema(input)}${isNeeded(input) ? '' : '.optional()'}`;
}

function valueSchema(input: EndpointInput): string {
  switch (input.type) {
    case 'string':
    case 'text':
      return `z.string()${limited('max', input.maxLength)}`;
    case 'integer':
      return `z.int()${limited('min', input.minimum)}${limited('max', input.maximum)}`;
    case 'number':
      return `z.number()${limited('min', input.minimum)}${limited('max', input.maximum)}`;
    case 'boolean':
      return 'z.boolean()';
    case 'enum':
      return `z.enum(${JSON.stringify(input.values)})`;
    default:
      return 'file';
  }
}

/** Limits at the end of what JavaScript counts exactly say nothing beyond `z.int()`. */
function limited(method: string, value: number | undefined): string {
  if (value === undefined || Math.abs(value) === Number.MAX_SAFE_INTEGER) return '';
  return `.${method}(${value})`;
}
