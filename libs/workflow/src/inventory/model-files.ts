import type { Json, JsonObject } from '../json-value.ts';
import type { NodeUse } from './node-use.ts';

/** A model file that a workflow names. */
export interface ModelReference {
  /** Name of the file, without folders. */
  readonly filename: string;
  /** Folder below the model folder, as the loader's value has it: `SDXL` of `SDXL/base.safetensors`. */
  readonly subfolder: string | undefined;
  /** Folder below ComfyUI's models, such as `diffusion_models`; `undefined` where nothing says it. */
  readonly directory: string | undefined;
  /** Where the file declares that it can be downloaded. */
  readonly url: string | undefined;
  /** Whether the URL names a commit, so that it always gives the same file. */
  readonly pinned: boolean;
  /** SHA-256 in hexadecimal, where the workflow declares one. */
  readonly sha256: string | undefined;
  /** Nodes that declare it, and those that load it. */
  readonly declaredBy: readonly string[];
  readonly loadedBy: readonly string[];
  /** Whether a node that is neither muted nor bypassed declares or loads it. */
  readonly active: boolean;
}

/** Extensions of model files. Pickles (.bin, .pt) count: loaders take them. */
const MODEL_FILE = /\.(?:safetensors|sft|ckpt|pt2?|pth|bin|pkl|gguf|onnx)$/i;

/** Folder of ComfyUI's models by the name of the loader's input (folder_paths.py of ComfyUI and its loaders). */
const FOLDERS: readonly (readonly [RegExp, string])[] = [
  [/^ckpt_name$|^checkpoint$|^config_ckpt_name$/, 'checkpoints'],
  [/^unet_name\d?$|^diffusion_model$/, 'diffusion_models'],
  [/^clip_name\d?$|^text_encoder\d?$/, 'text_encoders'],
  [/^vae_name$/, 'vae'],
  [/^lora_name(?:_\d+)?$|^lora(?:_\d+)?$/, 'loras'],
  [/^control_net_name$|^controlnet_name$/, 'controlnet'],
  [/^style_model_name$/, 'style_models'],
  [/^gligen_name$/, 'gligen'],
  [/^hypernetwork_name$/, 'hypernetworks'],
  [/^audio_encoder_name$/, 'audio_encoders'],
  [/^photomaker_model_name$/, 'photomaker'],
  [/^upscale_model(?:_name)?$/, 'upscale_models'],
];

/** Classes whose input has a name that others use for another folder. */
const CLASS_FOLDERS: Readonly<Record<string, string>> = {
  CLIPVisionLoader: 'clip_vision',
  UpscaleModelLoader: 'upscale_models',
  ModelPatchLoader: 'model_patches',
  LatentUpscaleModelLoader: 'latent_upscale_models',
  AudioEncoderLoader: 'audio_encoders',
  StyleModelLoader: 'style_models',
};

/** Whether a value is the name of a model file. */
export function isModelFile(value: Json): value is string {
  return (
    typeof value === 'string' && value.length < 512 && MODEL_FILE.test(value) && !/^[a-z]+:\/\//i.test(value)
  );
}

/** ComfyUI's model folder for what a loader's input names; `undefined` where neither class nor input tell. */
export function modelFolder(className: string, field: string | undefined): string | undefined {
  if (Object.hasOwn(CLASS_FOLDERS, className)) return CLASS_FOLDERS[className];
  return field === undefined ? undefined : FOLDERS.find(([names]) => names.test(field))?.[1];
}

/** Folders of today for the names of earlier versions (ComfyUI reads both). */
export function currentFolder(directory: string): string {
  if (directory === 'unet') return 'diffusion_models';
  return directory === 'clip' ? 'text_encoders' : directory;
}

/** Whether a URL names a commit instead of a branch. */
export function isPinnedUrl(url: string): boolean {
  return /\/resolve\/[0-9a-f]{40}\//.test(url) || /\/(?:raw|blob)\/[0-9a-f]{40}\//.test(url);
}

/**
 * The model files of a workflow: those that nodes declare (`properties.models`) and those that loaders name. One file
 * of one folder is one entry, however many nodes name it.
 */
export function modelReferences(nodes: readonly NodeUse[]): ModelReference[] {
  const found: Draft[] = [];
  const byName = new Map<string, Draft[]>();
  const draftOf = (filename: string, directory: string | undefined) => {
    const known = byName.get(filename) ?? [];
    byName.set(filename, known);
    let draft = known.find(
      (one) => one.directory === undefined || directory === undefined || one.directory === directory,
    );
    if (draft === undefined) {
      draft = { filename, declaredBy: [], loadedBy: [], active: false };
      known.push(draft);
      found.push(draft);
    }
    draft.directory ??= directory;
    return draft;
  };
  for (const node of nodes) {
    for (const model of node.declaredModels) addDeclared(draftOf, node, model);
  }
  for (const node of nodes) {
    for (const { field, value } of node.values) {
      if (!isModelFile(value)) continue;
      const parts = value.split(/[\\/]/);
      const draft = draftOf(parts.at(-1) ?? value, modelFolder(node.type, field));
      if (parts.length > 1) draft.subfolder ??= parts.slice(0, -1).join('/');
      draft.loadedBy.push(node.id);
      draft.active ||= node.active;
    }
  }
  return found.map(finished);
}

interface Draft {
  readonly filename: string;
  subfolder?: string;
  directory?: string | undefined;
  url?: string;
  sha256?: string;
  readonly declaredBy: string[];
  readonly loadedBy: string[];
  active: boolean;
}

function addDeclared(
  draftOf: (filename: string, directory: string | undefined) => Draft,
  node: NodeUse,
  model: JsonObject,
): void {
  const { name, url, directory, hash, hash_type: hashType } = model;
  if (typeof name !== 'string' || name === '') return;
  const folder = typeof directory === 'string' && directory !== '' ? currentFolder(directory) : undefined;
  const parts = name.split(/[\\/]/);
  const draft = draftOf(parts.at(-1) ?? name, folder);
  if (parts.length > 1) draft.subfolder ??= parts.slice(0, -1).join('/');
  if (typeof url === 'string' && draft.url === undefined) draft.url = url.replace(/\?download=true$/, '');
  const isSha256 = typeof hashType === 'string' && /^sha-?256$/i.test(hashType);
  if (isSha256 && typeof hash === 'string' && /^[0-9a-f]{64}$/i.test(hash))
    draft.sha256 ??= hash.toLowerCase();
  draft.declaredBy.push(node.id);
  draft.active ||= node.active;
}

function finished(draft: Draft): ModelReference {
  return {
    filename: draft.filename,
    subfolder: draft.subfolder,
    directory: draft.directory,
    url: draft.url,
    pinned: draft.url !== undefined && isPinnedUrl(draft.url),
    sha256: draft.sha256,
    declaredBy: draft.declaredBy,
    loadedBy: draft.loadedBy,
    active: draft.active,
  };
}
