/** An endpoint, and a migration file for it. */
import type { EndpointDefinition } from '@ryla/workflow';
import { parseApiWorkflow, parseEndpointConfig } from '@ryla/workflow';

export const OLD = 'runpod:picture';
export const NEW = 'modal:picture';

export const picture: EndpointDefinition<{ readonly seed?: number }, 'picture'> = {
  config: parseEndpointConfig({
    name: 'picture',
    title: 'Picture',
    inputs: { seed: { type: 'integer', node: '1', field: 'seed', default: 1 } },
    outputs: { picture: { node: '2', type: 'image' } },
    gpu: ['L4'],
    timeouts: { execution: 60, startup: 60 },
  }),
  workflow: parseApiWorkflow({
    '1': { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 0, seed: 1 } },
    '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'p' } },
  }),
};

/** Text of a file that permits a stage; `more` are further fields of the endpoint. */
export function fileText(stage: string, more: object = {}): string {
  return JSON.stringify({ endpoints: { picture: { stage, ...more } } });
}
