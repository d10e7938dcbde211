import type { GPUS } from '../modal-limits.ts';
import type { WeightEstimate } from './weight-estimate.ts';

type Gpu = (typeof GPUS)[number];

/** The smallest GPU on which a workflow should run, and the arithmetic behind it. */
export interface GpuEstimate {
  /**
   * - `none`: nothing here computes on a GPU; a CPU is enough.
   * - `one`: {@link gpu} is the smallest that fits.
   * - `several`: no single GPU has the memory.
   */
  readonly needs: 'none' | 'one' | 'several';
  /** The smallest GPU that fits; `undefined` unless one is needed and fits. */
  readonly gpu: Gpu | undefined;
  /** GB of GPU memory that the rule asks for. */
  readonly neededGb: number;
  /** All model files together, in GB: what is downloaded and kept. */
  readonly weightsGb: number;
  /** Whether sizes that are only usual ones for their folders could change which GPU it is. */
  readonly isRough: boolean;
  /** The rule in words, with its numbers. */
  readonly rule: string;
}

/** GPUs that Modal offers with their memory in GB, smallest and cheapest first (modal.com/pricing and vendors' data). */
const MEMORY: readonly (readonly [Gpu, number])[] = [
  ['T4', 16],
  ['L4', 24],
  ['L40S', 48],
  ['A100-80GB', 80],
  ['H200', 141],
  ['B200', 180],
];

/** Memory beside the weights: latents, attention, VAE decoding, CUDA itself. */
const WORKING_GB = { image: 3, video: 8 } as const;

/** Share of the weights that casting and fragmentation cost on top. */
const OVERHEAD = 0.1;

/** Folders whose models sample together; ComfyUI frees the others before it samples. */
const SAMPLING_FOLDERS = new Set(['checkpoints', 'diffusion_models']);
const ENCODER_FOLDERS = new Set(['text_encoders']);
const BESIDE_FOLDERS = new Set(['loras', 'controlnet', 'model_patches', 'style_models', 'ipadapter']);

/** How far a usual size for a folder may be off: 95 % of the published templates are within it (docs/workflows.md). */
const ROUGH_FACTOR = 2;

/** What else a workflow does, as far as it decides about GPUs. */
export interface WorkflowTraits {
  readonly makesVideo: boolean;
  /** Whether nodes of it ask partners' services. */
  readonly asksPartners: boolean;
}

/**
 * The smallest GPU that fits, by a rule: ComfyUI holds one diffusion model at a time with its LoRAs and ControlNets,
 * and before it the text encoders; the larger of the two, a tenth more, and working memory must fit. ComfyUI can also
 * run in less by moving weights to and fro, slowly.
 */
export function gpuEstimate(weights: readonly WeightEstimate[], about: WorkflowTraits): GpuEstimate {
  if (weights.length === 0) return withoutModels(about);
  const working = about.makesVideo ? WORKING_GB.video : WORKING_GB.image;
  const needed = (sizes: readonly WeightEstimate[]) => heldAtOnce(sizes) * (1 + OVERHEAD) + working;
  const neededGb = round(needed(weights));
  const gpu = smallestWith(neededGb);
  // A LoRA or VAE of unknown size seldom matters; a checkpoint of unknown size does.
  const isRough = [1 / ROUGH_FACTOR, ROUGH_FACTOR].some(
    (factor) => smallestWith(needed(weights.map((weight) => scaled(weight, factor)))) !== gpu,
  );
  return {
    needs: gpu === undefined ? 'several' : 'one',
    gpu,
    neededGb,
    weightsGb: round(sum(weights)),
    isRough,
    rule: `An estimate: ${round(heldAtOnce(weights))} GB of weights at a time, a tenth more, and ${working} GB to work with.`,
  };
}

function withoutModels({ asksPartners }: WorkflowTraits): GpuEstimate {
  const rule = asksPartners
    ? "None needed: it runs on the partner's machines, and a CPU is enough here."
    : 'None needed: no model is loaded, and a CPU is enough.';
  return { needs: 'none', gpu: undefined, neededGb: 0, weightsGb: 0, isRough: false, rule };
}

/** GB of weights that are held together: the largest model that samples with what is beside it, or the encoders. */
function heldAtOnce(weights: readonly WeightEstimate[]): number {
  const inFolders = (folders: ReadonlySet<string>) =>
    weights.filter(({ directory }) => folders.has(directory ?? ''));
  const largest = Math.max(0, ...inFolders(SAMPLING_FOLDERS).map(({ gb }) => gb));
  const encoders = sum(inFolders(ENCODER_FOLDERS));
  const other = Math.max(0, ...weights.map(({ gb }) => gb));
  return Math.max(largest + sum(inFolders(BESIDE_FOLDERS)), encoders, other);
}

function smallestWith(neededGb: number): Gpu | undefined {
  return MEMORY.find(([, gb]) => gb >= neededGb)?.[0];
}

function scaled(weight: WeightEstimate, factor: number): WeightEstimate {
  return weight.rule === 'folder' ? { ...weight, gb: weight.gb * factor } : weight;
}

function sum(weights: readonly WeightEstimate[]): number {
  return weights.reduce((total, { gb }) => total + gb, 0);
}

function round(gb: number): number {
  return Math.round(gb * 10) / 10;
}
