import {
  type ApiWorkflow,
  endpointConfig,
  type EndpointInput,
  type GpuEstimate,
  type InferredInput,
  inferInputs,
  type InferredOutput,
  inferOutputs,
  type InputKind,
  type ObjectInfo,
} from '@ryla/workflow';

import { titleOf } from './identifiers.ts';
import type { Requirements } from './requirements.ts';

/** Where an endpoint may run. */
export type ProviderChoice = 'modal' | 'runpod' | 'both';

/** Path of the JSON Schema from an endpoint's folder. */
export const SCHEMA = '../../../libs/workflow/schema/endpoint.schema.json';

/** What endpoint.json is made from. */
export interface DocumentSource {
  readonly name: string;
  readonly provider: ProviderChoice;
  readonly workflow: ApiWorkflow;
  readonly inputs: readonly InferredInput[];
  readonly outputs: readonly InferredOutput[];
  readonly requirements: Requirements;
  readonly title?: string | undefined;
  readonly description?: string | undefined;
}

/** The inputs and outputs of a workflow, inputs described for its callers. */
export function inferInterface(workflow: ApiWorkflow, objectInfo: ObjectInfo) {
  const outputs = inferOutputs(workflow, objectInfo);
  const made = outputs[0]?.output.type;
  const result = made === 'image' ? 'picture' : made === 'video' || made === 'audio' ? made : 'result';
  const inputs = inferInputs(workflow, objectInfo).map((inferred) => ({
    ...inferred,
    input: described(inferred, result),
  }));
  return { inputs, outputs };
}

/** A new endpoint.json: nothing in it that its schema has a fitting default for. */
export function endpointDocument(source: DocumentSource): Readonly<Record<string, unknown>> {
  const { name, requirements, inputs, outputs } = source;
  const { models, customNodes, inventory } = requirements;
  const largest = Math.max(
    0,
    ...models.map(({ size }) => size),
    ...inventory.weights.map(({ gb }) => gb * 1e9),
  );
  const isVideo = outputs.some(({ output }) => output.type === 'video');
  return {
    $schema: SCHEMA,
    name,
    title: source.title ?? titleOf(name),
    description: source.description ?? describedWorkflow(source),
    workflow: 'workflow.json',
    inputs: Object.fromEntries(
      inputs.map(({ name: input, input: declared }) => [input, withoutDefaults(declared)]),
    ),
    outputs: Object.fromEntries(outputs.map(({ name: output, output: declared }) => [output, declared])),
    comfyui: requirements.comfyui,
    ...(customNodes.length === 0 ? {} : { customNodes }),
    ...(models.length === 0 ? {} : { models }),
    gpu: [gpuOf(requirements.gpu, inventory.gpu)],
    cpu: largest === 0 ? 2 : 4,
    memory: memoryFor(largest),
    scaling: { minContainers: 0, maxContainers: 2, scaledownWindow: 60 },
    timeouts: { execution: isVideo ? 1800 : 600, startup: largest === 0 ? 300 : 600 },
    providers: providersOf(source.provider),
  };
}

/** Providers as endpoint.json has them; what is absent is not deployed by the endpoint's own commands. */
function providersOf(provider: ProviderChoice): Readonly<Record<string, unknown>> {
  return {
    ...(provider === 'runpod' ? {} : { modal: { auth: 'modal-proxy' } }),
    ...(provider === 'modal' ? {} : { runpod: {} }),
  };
}

/** The provider that an endpoint.json is for, by its keys. */
export function providerOf(document: Readonly<Record<string, unknown>>): ProviderChoice {
  const providers = document['providers'];
  if (typeof providers !== 'object' || providers === null) return 'both';
  const [modal, runpod] = ['modal' in providers, 'runpod' in providers];
  return modal === runpod ? 'both' : modal ? 'modal' : 'runpod';
}

/** The GPU of the user's environment where Modal has it, else the estimate; the smallest where none is needed. */
function gpuOf(wanted: string | undefined, { gpu, needs }: GpuEstimate): string {
  const isOffered = wanted !== undefined && endpointConfig.shape.gpu.safeParse([wanted]).success;
  return isOffered ? wanted : (gpu ?? (needs === 'none' ? 'T4' : 'B200'));
}

/** MiB of memory beside the weights of one file, which safetensors maps while it is loaded. */
const BASE_MEMORY = 8192;
const MEMORY_STEP = 4096;
const LARGEST_MEMORY = 344_064;

function memoryFor(largestBytes: number): number {
  if (largestBytes === 0) return MEMORY_STEP;
  const needed = BASE_MEMORY + largestBytes / 1024 / 1024;
  return Math.min(LARGEST_MEMORY, Math.ceil(needed / MEMORY_STEP) * MEMORY_STEP);
}

const MADE: Readonly<Record<string, string>> = { file: 'a file', latent: 'a latent', text: 'text' };

function describedWorkflow({ inputs, outputs, requirements }: DocumentSource): string {
  const given = [...new Set(inputs.map(({ input }) => input.type))];
  const from = ['video', 'image', 'audio'].find((type) => given.some((one) => one === type)) ?? 'text';
  const made = outputs[0]?.output.type ?? 'file';
  const models = requirements.inventory.models.filter(
    ({ active, directory }) => active && (directory === 'diffusion_models' || directory === 'checkpoints'),
  );
  const by = models.map(({ filename }) => filename.replace(/\.[^.]+$/, '')).join(' and ');
  const verb = `${from.charAt(0).toUpperCase()}${from.slice(1)} to ${MADE[made] ?? made}`;
  return by === '' ? `${verb}.` : `${verb} with ${by}.`;
}

function described({ name, kind, input }: InferredInput, result: string): EndpointInput {
  const description = input.description ?? wordsFor(kind, name, result);
  return description === undefined ? input : { ...input, description };
}

function wordsFor(kind: InputKind, name: string, result: string): string | undefined {
  switch (kind) {
    case 'prompt':
      return name.startsWith('prompt') ? `What the ${result} shows.` : undefined;
    case 'negativePrompt':
      return `What the ${result} should not show.`;
    case 'image':
      return 'The picture to work from.';
    case 'mask':
      return 'The part of the picture that counts.';
    case 'video':
      return 'The video to work from.';
    case 'audio':
      return 'The sound to work from.';
    case 'size':
      return SIZES[name];
    case 'length':
      return LENGTHS[name];
    case 'batch':
      return `How many are made at once.`;
    case 'seed':
      return `Another seed gives another ${result}.`;
    case 'steps':
      return 'Sampler steps: more take longer.';
    case 'cfg':
      return name === 'cfg' || name === 'guidance' ? 'How closely the prompt is followed.' : undefined;
    case 'strength':
    case 'model':
    case 'marked':
      return undefined;
  }
}

const SIZES: Readonly<Record<string, string>> = {
  width: 'Width in pixels.',
  height: 'Height in pixels.',
  megapixels: 'Size in millions of pixels.',
};

const LENGTHS: Readonly<Record<string, string>> = {
  length: 'Number of frames.',
  videoFrames: 'Number of frames.',
  seconds: 'Length in seconds.',
  duration: 'Length in seconds.',
};

function withoutDefaults({ required, ...input }: EndpointInput): Readonly<Record<string, unknown>> {
  return required ? { ...input, required } : input;
}
