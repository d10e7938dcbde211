import type { InferredInput, InferredOutput } from '@ryla/workflow';

import { IS_INSTALLED } from '../../installation.ts';
import type { ProviderChoice } from '../endpoint/endpoint-document.ts';
import { endpointRoot } from '../endpoint/endpoint-folder.ts';
import { gigabytes } from '../endpoint/bill-of-materials.ts';
import type { LeftToDo, Requirements } from '../endpoint/requirements.ts';
import type { WorkflowSource } from '../endpoint/workflow-source.ts';

/** What a new endpoint was made of. */
export interface Made {
  readonly name: string;
  readonly provider: ProviderChoice;
  readonly source: WorkflowSource;
  readonly inputs: readonly InferredInput[];
  readonly outputs: readonly InferredOutput[];
  readonly requirements: Requirements;
}

/** What the user reads when an endpoint was made: what was found and why, what is left to do, what comes next. */
export function report({ name, provider, source, inputs, outputs, requirements }: Made): string {
  const { models, customNodes, inventory, left } = requirements;
  const bytes = models.reduce((sum, { size }) => sum + size, 0);
  return [
    `Inputs of ${name}:`,
    ...lines(inputs.map((input) => `${input.name}: ${input.why}`)),
    'Outputs:',
    ...lines(outputs.map((output) => `${output.name}: ${output.why}`)),
    `Models: ${models.length === 0 ? 'none pinned' : `${models.length} pinned, ${gigabytes(bytes)} GB`}. Custom nodes: ${customNodes.length}. GPU: ${inventory.gpu.rule}`,
    ...source.broken.map(({ why }) => `Not an input: ${why}`),
    ...source.problems.map(({ message }) => `Warning: ${message}`),
    ...leftLines(left),
    '',
    ...nextLines(name, provider),
    `What it takes and gives is in ${endpointRoot(name)}/endpoint.json; edit it, then: npx nx sync`,
    '',
  ].join('\n');
}

function nextLines(name: string, provider: ProviderChoice): string[] {
  if (IS_INSTALLED)
    return [`Next: npx nx validate ${name}`, `      npx nx run ${name}:run:cloud   # once it is deployed`];
  return [`Next: npx nx test ${name}`, `      ${deployCommand(name, provider)}`];
}

/** What a person must do, under each action what it is for; empty where there is nothing. */
export function leftLines(left: readonly LeftToDo[]): string[] {
  if (left.length === 0) return [];
  const byAction = Map.groupBy(left, ({ action }) => action);
  return [
    'Left to you before it can run:',
    ...[...byAction].flatMap(([action, entries]) => [
      ...lines(entries.map(({ name, problem }) => `${name}: ${problem}`)),
      `  → ${action}`,
    ]),
  ];
}

function lines(texts: readonly string[]): string[] {
  return texts.length === 0 ? ['  none'] : texts.map((text) => `  ${text}`);
}

function deployCommand(name: string, provider: ProviderChoice): string {
  return provider === 'runpod'
    ? `npm start -- --endpoint ${name} --backend runpod`
    : `npx nx run ${name}:deploy:cloud`;
}
