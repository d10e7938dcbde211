import type { EndpointConfig } from '@ryla/workflow';

import { gigabytes } from './bill-of-materials.ts';
import { cell, table } from './marked-part.ts';

/** The page of the docs that lists the endpoints, and the part of it that does. */
export const TABLE_PAGE = 'docs/endpoints.md';
export const TABLE_PART = 'endpoints';

/** The table of a workspace's endpoints, in the order given. */
export function endpointTable(configs: readonly EndpointConfig[]): string {
  const rows = configs.map(({ name, description, inputs, outputs, models, gpu }) => [
    `[${name}](../apps/endpoints/${name}/README.md)`,
    cell(description),
    Object.keys(inputs).join(', '),
    Object.keys(outputs).join(', '),
    models.length === 0 ? 'none' : `${gigabytes(models.reduce((sum, { size }) => sum + size, 0))} GB`,
    gpu.join(', '),
  ]);
  return (
    table(['endpoint', 'what it does', 'inputs', 'outputs', 'models', 'GPU'], rows) || 'There are none yet.'
  );
}
