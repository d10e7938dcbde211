import type { ModelReference } from './model-files.ts';

/** How large a model file is, and how that is known. */
export interface WeightEstimate {
  readonly filename: string;
  readonly directory: string | undefined;
  /** GB of 1,000,000,000 bytes. */
  readonly gb: number;
  /**
   * - `file`: its size was given.
   * - `family`: parameters of a published model that the name tells, times bytes of the number format in the name.
   * - `name`: parameters in the name (`14B`), times those bytes.
   * - `folder`: nothing but its folder is known: a usual size.
   */
  readonly rule: 'file' | 'family' | 'name' | 'folder';
}

/** Bytes of one parameter by what file names say; without a word of it, two (fp16 and bf16). */
const BYTES: readonly (readonly [RegExp, number])[] = [
  [/fp32|f32|float32/i, 4],
  [/nf4|fp4|nvfp4|mxfp4|int4|w4a\d+|q4|awq|gptq|svdq/i, 0.6],
  [/q5/i, 0.7],
  [/q6/i, 0.85],
  [/fp8|int8|q8|f8_|e4m3|e5m2|mxfp8/i, 1.05],
  [/fp16|bf16|f16|float16/i, 2],
];

/**
 * Parameters in billions of published models by their file names (their model cards), text encoders first: their names
 * may tell what they are for. A checkpoint counts whole, with its text encoders and VAE.
 */
const FAMILIES: readonly (readonly [RegExp, number])[] = [
  [/t5xxl|t5-v1_1-xxl/i, 4.76],
  [/umt5[-_]?xxl/i, 5.68],
  [/clip_l|clip-l|vit-l/i, 0.123],
  [/clip_g|clip-g|bigg/i, 0.695],
  [/clip_vision_h/i, 0.632],
  [/clip_vision_g/i, 1.84],
  [/sigclip/i, 0.428],
  [/qwen_?2\.5_vl_fp16/i, 3.75],
  [/mistral_3_small/i, 17.2],
  [/llava_llama3|llama_3\.1_8b/i, 8.03],
  [/whisper_large/i, 0.637],
  [/jina_clip/i, 0.87],
  [/t5-base|t5gemma/i, 0.25],
  [/lotus|sdpose/i, 0.87],
  [/anima(?!t)/i, 2],
  [/flux1?[-_.]?(?:dev|schnell).*fp8(?!.*(?:kontext|scaled))/i, 16.4],
  [/flux[-_.]?2[-_]?dev|flux2_dev/i, 32],
  [/flux1?[-_.]|flux\.1/i, 11.9],
  [/sd_?xl/i, 3.47],
  [/sd3(?:\.5|5)?_?large.*(?:scaled|incl)/i, 14.2],
  [/sd3(?:\.5|5)?_?large/i, 8.1],
  [/sd3(?:\.5|5)?_?medium/i, 2.5],
  [/v1-5|sd[-_]?1[._]?5|sd15/i, 1.07],
  [/svd/i, 2.25],
  [/hidream/i, 17.1],
  [/chroma/i, 8.9],
  [/qwen[-_.]?image/i, 20.4],
  [/z[-_]?image/i, 6.15],
  [/lumina|netayume/i, 5.2],
  [/omnigen2/i, 3.97],
  [/hunyuan[-_]?video/i, 12.8],
  [/hunyuan.?3d/i, 2.46],
  [/humo_17b/i, 17],
];

/** Usual sizes in GB by folder: medians of what the published workflow templates declare. */
const USUAL: Readonly<Record<string, number>> = {
  checkpoints: 7,
  diffusion_models: 13,
  text_encoders: 6,
  vae: 0.33,
  loras: 0.4,
  controlnet: 2.5,
  model_patches: 2,
  clip_vision: 1.2,
  style_models: 0.13,
  audio_encoders: 0.6,
  upscale_models: 0.07,
};

/** What a file in a folder that is not in the list is taken for, in GB. */
const USUAL_ELSEWHERE = 1;

/** Folders whose files a name with billions does not describe: a LoRA for a 14B model is small itself. */
const SMALL_FOLDERS = new Set([
  'loras',
  'vae',
  'embeddings',
  'upscale_models',
  'latent_upscale_models',
  'controlnet',
  'style_models',
  'model_patches',
  'vae_approx',
]);

/** The size of each model file; `sizes` are bytes by file name where they are known. */
export function weightEstimates(
  models: readonly Pick<ModelReference, 'filename' | 'directory'>[],
  sizes: ReadonlyMap<string, number> = new Map(),
): WeightEstimate[] {
  return models.map(({ filename, directory }) => ({
    filename,
    directory,
    ...estimate(filename, directory, sizes.get(filename)),
  }));
}

function estimate(
  filename: string,
  directory: string | undefined,
  size: number | undefined,
): Pick<WeightEstimate, 'gb' | 'rule'> {
  if (size !== undefined) return { gb: rounded(size / 1e9), rule: 'file' };
  if (directory !== undefined && SMALL_FOLDERS.has(directory))
    return { gb: USUAL[directory] ?? 0.3, rule: 'folder' };
  const bytes = BYTES.find(([pattern]) => pattern.test(filename))?.[1] ?? 2;
  const named = /(?:^|[^a-z\d.])(\d{1,3}(?:\.\d+)?)b(?![a-z\d])/i.exec(filename)?.[1];
  const family = FAMILIES.find(([pattern]) => pattern.test(filename))?.[1];
  if (named !== undefined) return { gb: rounded(billions(named) * bytes), rule: 'name' };
  if (family !== undefined) return { gb: rounded(family * bytes), rule: 'family' };
  return {
    gb: directory === undefined ? USUAL_ELSEWHERE : (USUAL[directory] ?? USUAL_ELSEWHERE),
    rule: 'folder',
  };
}

/** `14`, `1.3`; `06` is how some write 0.6. */
function billions(text: string): number {
  return /^0\d$/.test(text) ? Number(text) / 10 : Number(text);
}

function rounded(gb: number): number {
  return Math.round(gb * 100) / 100;
}
