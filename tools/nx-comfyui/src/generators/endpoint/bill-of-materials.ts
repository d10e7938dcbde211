import type { Inventory, ModelReference } from '@ryla/workflow';
import { takeInventory } from '@ryla/workflow/node';

import type { EndpointFolder } from './endpoint-folder.ts';
import { cell, table } from './marked-part.ts';

/** Page of a package of the Comfy registry, before its id. */
const REGISTRY_PAGE = 'https://registry.comfy.org/nodes/';

type Model = EndpointFolder['config']['models'][number];

/**
 * What an endpoint is made of, as Markdown: models, nodes, version, GPU. Only from the files of its folder and the
 * built-in catalogue, so that it is the same on every machine.
 */
export function billOfMaterials({ config, original }: EndpointFolder): string {
  const sizes = new Map(config.models.map(({ filename, size }) => [filename, size]));
  const inventory = takeInventory(original, { sizes });
  return [
    modelTable(config.models),
    missingModels(inventory, config.models),
    nodeTable(config.customNodes),
    customClassList(inventory),
    [
      `- ComfyUI ${config.comfyui.version}.`,
      `- GPU: ${config.gpu.join(', else ')}. ${gpuSentence(inventory)}`,
      ...(inventory.determinism === undefined
        ? []
        : [`- Determinism: ${inventory.determinism.class}. ${inventory.determinism.why}`]),
      ...partnerLines(inventory),
    ].join('\n'),
  ]
    .filter((part) => part !== '')
    .join('\n\n');
}

/** Model files that the workflow loads and endpoint.json does not name. */
export function modelsNotPinned(
  { models }: Pick<Inventory, 'models'>,
  pinned: readonly Pick<Model, 'filename'>[],
): ModelReference[] {
  const names = new Set(pinned.map(({ filename }) => filename));
  return models.filter(({ active, filename }) => active && !names.has(filename));
}

function modelTable(models: readonly Model[]): string {
  const rows = models.map(({ filename, directory, size, url }) => [
    `[${cell(filename)}](${url})`,
    cell(directory),
    `${gigabytes(size)} GB`,
  ]);
  return table(['model', 'folder', 'size'], rows);
}

function missingModels(inventory: Inventory, pinned: readonly Model[]): string {
  const missing = modelsNotPinned(inventory, pinned);
  if (missing.length === 0) return '';
  const lines = missing.map(({ filename, directory, url }) => {
    const from = url === undefined ? 'the workflow names no address' : `from ${url}`;
    return `- ${cell(filename)} (${cell(directory ?? 'folder unknown')}), ${cell(from)}`;
  });
  return `Not in endpoint.json yet; each needs a URL with a revision, its size and its SHA-256:\n\n${lines.join('\n')}`;
}

function nodeTable(nodes: EndpointFolder['config']['customNodes']): string {
  const rows = nodes.map((node) =>
    'registry' in node
      ? [`[${cell(node.name)}](${REGISTRY_PAGE}${node.registry})`, node.version]
      : [`[${cell(node.name)}](${node.repository})`, `\`${node.commit.slice(0, 12)}\``],
  );
  return table(['custom node', 'pinned to'], rows);
}

function customClassList({ customClasses }: Inventory): string {
  if (customClasses.length === 0) return '';
  const names = customClasses.map(({ className }) => `\`${cell(className)}\``);
  return `Classes from custom nodes: ${names.join(', ')}.`;
}

function gpuSentence({ gpu }: Inventory): string {
  if (gpu.weightsGb === 0) return gpu.rule;
  const rough = gpu.isRough ? ' Some sizes are only usual ones.' : '';
  const smallest = gpu.gpu === undefined ? 'no single GPU fits' : `the smallest that fits is ${gpu.gpu}`;
  return `${gpu.rule} That is ${gpu.neededGb} GB: ${smallest}.${rough}`;
}

function partnerLines({ partnerNodes }: Inventory): string[] {
  if (partnerNodes.length === 0) return [];
  const names = [...new Set(partnerNodes.map(({ className }) => className))];
  return [`- It spends money elsewhere: ${names.map(cell).join(', ')} call paid services.`];
}

/** GB of 1,000,000,000 bytes, with as many digits as tell something. */
export function gigabytes(bytes: number): string {
  const gb = bytes / 1e9;
  return gb >= 10 ? gb.toFixed(0) : gb >= 0.1 ? gb.toFixed(1) : gb.toPrecision(1);
}
