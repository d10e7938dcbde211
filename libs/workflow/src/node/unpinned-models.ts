import { existsSync } from 'node:fs';
import path from 'node:path';

import type { EndpointDefinition } from '../endpoint-definition.ts';
import type { ModelReference } from '../inventory/model-files.ts';
import { takeInventory } from './take-inventory.ts';

/** Model files that an endpoint's workflow loads and its endpoint.json does not name: nobody knows where they come from. */
export function unpinnedModels({
  config,
  workflow,
}: Pick<EndpointDefinition, 'config' | 'workflow'>): ModelReference[] {
  const pinned = new Set(config.models.map(({ filename }) => filename));
  return takeInventory(workflow).models.filter(({ active, filename }) => active && !pinned.has(filename));
}

/** The file as ComfyUI's page saved it, which says where models come from. */
const ORIGINAL = 'workflow.original.json';

/** What a person must know before such an endpoint goes to a real cloud, and do; no lines where all are pinned. */
export function unpinnedModelsNote(endpoint: EndpointDefinition): string[] {
  const models = unpinnedModels(endpoint);
  if (models.length === 0) return [];
  const { name } = endpoint.config;
  const folder = `apps/endpoints/${name}`;
  const which =
    models.length === 1
      ? 'a model that its workflow loads is'
      : `${models.length} models that its workflow loads are`;
  const update = `npx nx g @ryla/nx-comfyui:update-endpoint ${name} --workflow=${folder}/${ORIGINAL}`;
  return [
    `Warning: ${which} not in ${folder}/endpoint.json, so that \`nx run ${name}:models\` brings none of them to a real cloud:`,
    ...models.map(({ directory = '(folder unknown)', filename }) => `  ${directory}/${filename}`),
    ...(existsSync(path.join(endpoint.directory ?? folder, ORIGINAL))
      ? [`  → ${update} looks them up again.`]
      : []),
    '  → Write what is not found into models: url with a revision, directory, filename, size in bytes and sha256 (docs/models.md).',
  ];
}
