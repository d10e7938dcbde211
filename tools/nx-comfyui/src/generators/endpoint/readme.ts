import { IS_INSTALLED } from '../../installation.ts';
import { billOfMaterials } from './bill-of-materials.ts';
import type { EndpointFolder } from './endpoint-folder.ts';
import { defaultOf, isFile, isNeeded, limitsOf } from './input-words.ts';
import { cell, markedPart, table, withPart } from './marked-part.ts';

/** Picture of the graph, beside the README. */
export const PICTURE = 'workflow.svg';

/** The parts of an endpoint's README that follow from its files. */
const PARTS = { inputs: inputPart, 'bill of materials': billOfMaterials } as const;

/** The README of a new endpoint. What is around its marked parts is for its author to change. */
export function newReadme(endpoint: EndpointFolder, choices: { readonly sample?: string }): string {
  const { name, description } = endpoint.config;
  return [
    `# ${name}`,
    description.replaceAll('<', '&lt;'),
    `![The graph of ${name}](${PICTURE})`,
    '## Inputs and outputs',
    markedPart('inputs', inputPart(endpoint)),
    '## Running it',
    ['```sh', ...commands(endpoint, choices.sample), '```'].join('\n'),
    '## What it is made of',
    markedPart('bill of materials', billOfMaterials(endpoint)),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
    .concat('\n');
}

/** A README with its marked parts as its endpoint has them now. */
export function updatedReadme(text: string, endpoint: EndpointFolder): string {
  return Object.entries(PARTS).reduce(
    (before, [part, contentOf]) => withPart(before, part, contentOf(endpoint)),
    text,
  );
}

function commands({ config }: EndpointFolder, sample: string | undefined): string[] {
  const files = Object.entries(config.inputs)
    .filter(([, input]) => isFile(input) && isNeeded(input))
    .map(([input]) => ` --input ${input}=${sample ?? 'FILE'}`)
    .join('');
  if (IS_INSTALLED) return [`npx nx run ${config.name}:run:cloud${files}   # once it is deployed`];
  return [
    `npm start -- --endpoint ${config.name}${files}   # on this machine, without an account`,
    ...(config.models.length === 0
      ? []
      : [`npx nx run ${config.name}:models:cloud   # its models to the volume`]),
    `npx nx run ${config.name}:deploy:cloud   # to Modal`,
  ];
}

function inputPart({ config }: EndpointFolder): string {
  const rows = Object.entries(config.inputs).map(([name, input]) => [
    `\`${name}\``,
    input.type,
    cell(limitsOf(input)),
    isNeeded(input) ? 'must be given' : cell(defaultOf(input) ?? ''),
    cell(input.description ?? ''),
  ]);
  const outputs = Object.entries(config.outputs).map(([name, { type }]) => `\`${name}\` (${type})`);
  return [
    table(['input', 'type', 'range', 'default', 'meaning'], rows) || 'It has no inputs.',
    outputs.length === 0 ? 'It has no outputs.' : `Outputs: ${outputs.join(', ')}.`,
  ].join('\n\n');
}
