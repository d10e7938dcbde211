import { logger, type Tree } from '@nx/devkit';
import {
  canonicalWorkflow,
  customNodePackage,
  diffWorkflows,
  endpointInputs,
  endpointOutputs,
  isSamePackage,
  type ObjectInfo,
  parseApiWorkflow,
  parseEndpointConfig,
} from '@ryla/workflow';
import { coreObjectInfo, takeInventory } from '@ryla/workflow/node';

import { writeDerivedFiles } from '../endpoint/derived-files.ts';
import { inferInterface } from '../endpoint/endpoint-document.ts';
import {
  type EndpointFolder,
  readEndpoint,
  writeDocument,
  writeOriginal,
} from '../endpoint/endpoint-folder.ts';
import { readObjectInfo } from '../endpoint/object-info-source.ts';
import { defaultSources, findRequirements, type Requirements } from '../endpoint/requirements.ts';
import { readWorkflow } from '../endpoint/workflow-source.ts';
import { leftLines } from '../workflow-endpoint/report.ts';
import type { Sources } from '../workflow-endpoint/workflow-endpoint.ts';
import { mergeInputs, mergeList, mergeOutputs, type Version } from './merge-document.ts';
import type { UpdateEndpointOptions } from './options.ts';

/**
 * `nx g @ryla/nx-comfyui:update-endpoint <name> --workflow=<file>`: a changed workflow in an endpoint. What was edited by
 * hand in endpoint.json stays, and what changes is shown.
 *
 * @throws {WorkflowError} where there is no such endpoint, or the file is not a workflow that could run.
 */
export async function updateEndpoint(
  tree: Tree,
  options: UpdateEndpointOptions,
  sources: Sources = defaultSources(tree.root),
): Promise<void> {
  const { name, from } = options;
  const endpoint = readEndpoint(tree, name);
  const server = options.objectInfo === undefined ? undefined : await readObjectInfo(options.objectInfo);
  const objectInfo = { ...coreObjectInfo(), ...server };
  const source = await readWorkflow(options.workflow, objectInfo, sources.nodeMap);
  const earlier = versionOf(parseApiWorkflow(endpoint.workflow), objectInfo);
  const later = versionOf(source.workflow, objectInfo);
  const requirements = await findRequirements(source.original, { ...sources, from, server });
  const { document, changes } = mergedDocument(endpoint, earlier, later, requirements);
  parseEndpointConfig(document);
  const { root, config } = endpoint;
  writeDocument(tree, `${root}/endpoint.json`, document);
  writeDocument(tree, `${root}/${config.workflow}`, canonicalWorkflow(source.workflow));
  writeOriginal(tree, root, source.bytes);
  await writeDerivedFiles(tree);
  const nodes = diffWorkflows(earlier.workflow, later.workflow).map(({ text }) => text);
  logger.info(
    [
      ...section('Nodes', nodes),
      ...changes,
      ...source.problems.map(({ message }) => `Warning: ${message}`),
      ...leftLines(requirements.left),
      '',
      `Next: npx nx test ${name}`,
      '',
    ].join('\n'),
  );
}

function versionOf(workflow: Version['workflow'], objectInfo: ObjectInfo): Version {
  const { inputs, outputs } = inferInterface(workflow, objectInfo);
  return { workflow, inputs: endpointInputs(inputs), outputs: endpointOutputs(outputs) };
}

/** endpoint.json as it is written, with only what the workflow changes replaced; keys stay in their order. */
function mergedDocument(
  endpoint: EndpointFolder,
  earlier: Version,
  later: Version,
  requirements: Requirements,
): { readonly document: Readonly<Record<string, unknown>>; readonly changes: readonly string[] } {
  const { config, document } = endpoint;
  const inputs = mergeInputs(config.inputs, earlier, later);
  const outputs = mergeOutputs(config.outputs, earlier, later);
  const files = (inventory: Requirements['inventory']) =>
    new Set(inventory.models.map(({ filename }) => filename));
  const [before, now] = [files(takeInventory(endpoint.original)), files(requirements.inventory)];
  const models = mergeList(
    config.models,
    requirements.models,
    // One that the earlier workflow did not name either was added by hand, for something that is not in the file.
    ({ filename }) => now.has(filename) || !before.has(filename),
    ({ filename }) => filename,
  );
  const hasCustomClasses = requirements.inventory.customClasses.length > 0;
  const nodes = mergeList(
    config.customNodes,
    requirements.customNodes.filter(
      (node) => !config.customNodes.some((other) => isSamePackage(other, node)),
    ),
    () => hasCustomClasses,
    customNodePackage,
  );
  const version = laterVersion(config.comfyui.version, requirements.comfyui.version);
  return {
    document: {
      ...document,
      inputs: Object.fromEntries(
        Object.entries(inputs.values).map(([name, input]) => [
          name,
          asWritten(input, writtenInput(document, name)),
        ]),
      ),
      outputs: outputs.values,
      ...listed('customNodes', document, nodes.values),
      ...listed('models', document, models.values),
      ...(version === config.comfyui.version ? {} : { comfyui: { version } }),
    },
    changes: [
      ...section('Inputs', inputs.changes),
      ...section('Outputs', outputs.changes),
      ...section('Models', models.changes),
      ...section('Custom nodes', nodes.changes),
      ...section(
        'ComfyUI',
        version === config.comfyui.version ? [] : [`${config.comfyui.version} → ${version}`],
      ),
      ...gpuHint(config.gpu, requirements),
    ],
  };
}

function gpuHint(gpu: readonly string[], { inventory }: Requirements): string[] {
  const smallest = inventory.gpu.gpu;
  if (smallest === undefined || gpu.includes(smallest)) return [];
  return [`GPU: ${gpu.join(', ')} stays; the estimate is ${smallest}. ${inventory.gpu.rule}`];
}

function listed(key: string, document: Readonly<Record<string, unknown>>, values: readonly unknown[]) {
  return values.length === 0 && !(key in document) ? {} : { [key]: values };
}

/** The input with its keys as they were written; `required: false` is what an absent key means. */
function asWritten(
  { required, ...input }: Version['inputs'][string],
  written: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const now = required || 'required' in written ? { ...input, required } : input;
  const known = new Map<string, unknown>(Object.entries(now));
  const kept = Object.keys(written).filter((key) => known.has(key));
  return Object.fromEntries([...kept, ...known.keys()].map((key) => [key, known.get(key)]));
}

function writtenInput(
  document: Readonly<Record<string, unknown>>,
  name: string,
): Readonly<Record<string, unknown>> {
  const inputs = recordOf(document['inputs']);
  return Object.hasOwn(inputs, name) ? recordOf(inputs[name]) : {};
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function section(title: string, changes: readonly string[]): string[] {
  return changes.length === 0
    ? [`${title}: no change`]
    : [`${title}:`, ...changes.map((change) => `  ${change}`)];
}

/** The later of two versions of ComfyUI, such as 0.3.64. */
function laterVersion(one: string, other: string): string {
  const [a, b] = [one, other].map((version) => version.split('.').map(Number));
  for (const [index, part] of (a ?? []).entries()) {
    const difference = part - (b?.[index] ?? 0);
    if (difference !== 0) return difference > 0 ? one : other;
  }
  return one;
}
