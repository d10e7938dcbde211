import type { GPUS } from '../endpoint-config.ts';
import type { WeightEstimate } from './weight-estimate.ts';

type Gpu = (typeof GPUS)[number];

/** The smallest GPU on which a workflow should run, and the arithmetic behind it. */
export interface GpuEstimate {
  /** `undefined` where no single GPU has the memory. */
  readonly gpu: Gpu | undefined;
  /** GB of GPU memory that the rule asks for. */
  readonly neededGb: number;
  /** All model files together, in GB: what is downloaded and kept. */
  readonly weightsGb: number;
  /** Whether any size is only a usual one for its folder. */
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
const BESIDE_FOLDERS = new Set(['loras', 'controlnet', 'model_patches', 'style_models', 'ipadapter']);

/**
 * The smallest GPU that fits, by a rule: ComfyUI holds one diffusion model at a time with its LoRAs and ControlNets,
 * and before it the text encoders; the larger of the two, a tenth more, and working memory must fit. ComfyUI can also
 * run in less by moving weights to and fro, slowly.
 */
export function gpuEstimate(weights: readonly WeightEstimate[], makesVideo: boolean): GpuEstimate {
  const inFolders = (folders: ReadonlySet<string>) =>
    weights.filter(({ directory }) => folders.has(directory ?? ''));
  const largest = Math.max(0, ...inFolders(SAMPLING_FOLDERS).map(({ gb }) => gb));
  const beside = sum(inFolders(BESIDE_FOLDERS));
  const encoders = sum(inFolders(new Set(['text_encoders'])));
  const other = Math.max(0, ...weights.map(({ gb }) => gb));
  const held = Math.max(largest + beside, encoders, other);
  const working = makesVideo ? WORKING_GB.video : WORKING_GB.image;
  const neededGb = weights.length === 0 ? 0 : round(held * (1 + OVERHEAD) + working);
  return {
    gpu: MEMORY.find(([, gb]) => gb >= neededGb)?.[0],
    neededGb,
    weightsGb: round(sum(weights)),
    isRough: weights.some(({ rule }) => rule === 'folder'),
    rule:
      weights.length === 0
        ? 'An estimate: no model is loaded.'
        : `An estimate: ${round(held)} GB of weights at a time, a tenth more, and ${working} GB to work with.`,
  };
}

function sum(weights: readonly WeightEstimate[]): number {
  return weights.reduce((total, { gb }) => total + gb, 0);
}

function round(gb: number): number {
  return Math.round(gb * 10) / 10;
}
