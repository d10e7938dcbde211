import type { ApiNodeMeta } from '../api-workflow.ts';
import type { NodeClass } from '../object-info.ts';
import type { NodeModel } from './graph-model.ts';

/** Titles that the page (frontend 1.58.1, English) gives to nodes of core classes that state no display name. */
const DEFAULT_TITLES: Readonly<Record<string, string>> = {
  AudioEncoderLoader: 'Load Audio Encoder',
  CLIPTextEncodeControlnet: 'CLIP Text Encode (Controlnet)',
  CLIPTextEncodeHiDream: 'CLIP Text Encode (HiDream)',
  CLIPTextEncodePixArtAlpha: 'CLIP Text Encode (PixArt Alpha)',
  CLIPTextEncodeSD3: 'CLIP Text Encode (SD3)',
  CLIPTextEncodeSDXL: 'CLIP Text Encode (SDXL)',
  CLIPTextEncodeSDXLRefiner: 'CLIP Text Encode (SDXL Refiner)',
  Canny: 'Detect Edges (Canny)',
  EmptyAceStepLatentAudio: 'Empty Ace Step 1.0 Latent Audio',
  EmptyCosmosLatentVideo: 'Empty Cosmos Latent Video',
  EmptyLTXVLatentVideo: 'Empty LTXV Latent Video',
  FluxKontextMultiReferenceLatentMethod: 'Edit Model Reference Method',
  ImageBlend: 'Blend Images',
  ImageBlur: 'Blur Image',
  ImageQuantize: 'Quantize Image',
  ImageRGBToYUV: 'Image RGB to YUV',
  ImageScaleToTotalPixels: 'Scale Image to Total Pixels',
  ImageSharpen: 'Sharpen Image',
  ImageYUVToRGB: 'Image YUV to RGB',
  LTXVPreprocess: 'LTXV Preprocess',
  LatentBatch: 'Batch Latents (DEPRECATED)',
  PerpNegGuider: 'Perp-Neg Guider',
  PhotoMakerEncode: 'PhotoMaker Encode',
  PhotoMakerLoader: 'Load PhotoMaker Model',
  QuadrupleCLIPLoader: 'Load CLIP (Quadruple)',
  ReferenceLatent: 'Set Reference Latent',
  SaveWEBM: 'Save WEBM',
  StableCascade_EmptyLatentImage: 'Empty Stable Cascade Latent Image',
  StableCascade_StageC_VAEEncode: 'Stable Cascade Stage C VAE Encode',
  T5TokenizerOptions: 'T5 Tokenizer Options',
  TextEncodeQwenImageEdit: 'Text Encode Qwen Image Edit',
  TextEncodeQwenImageEditPlus: 'Text Encode Qwen Image Edit Plus',
  TrimVideoLatent: 'Trim Video Latent',
  TripleCLIPLoader: 'Load CLIP (Triple)',
};

/** Names of packages in the Comfy registry and of repositories, as the page accepts them. */
const PACKAGE = /^[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,98}[a-zA-Z0-9])?$/;

const GITHUB_USER = /^(?!-)(?!.*--)[a-zA-Z0-9-]{1,39}(?<!-)$/;

/** A semantic version. */
const VERSION =
  /^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[\da-z-]+(?:\.[\da-z-]+)*)?(?:\+[\da-z-]+(?:\.[\da-z-]+)*)?$/;

const GIT_COMMIT = /^[\da-f]{4,40}$/i;

/** A node's title and the identity of its package, as the page writes them beside the inputs. */
export function metaOf({ node }: NodeModel, nodeClass: NodeClass): ApiNodeMeta {
  const { cnr_id: cnrId, aux_id: auxId, ver } = node.properties ?? {};
  const version = typeof ver === 'string' ? ver.replace(/^v/, '') : '';
  return {
    title: node.title || nodeClass.display_name || defaultTitle(nodeClass.name),
    ...(typeof cnrId === 'string' && PACKAGE.test(cnrId) ? { cnr_id: cnrId } : {}),
    ...(typeof auxId === 'string' && isRepository(auxId) ? { aux_id: auxId } : {}),
    ...(version === 'unknown' || VERSION.test(version) || GIT_COMMIT.test(version) ? { ver: version } : {}),
  };
}

function defaultTitle(className: string): string {
  return Object.hasOwn(DEFAULT_TITLES, className) ? (DEFAULT_TITLES[className] ?? className) : className;
}

function isRepository(auxId: string): boolean {
  const [user, repository, ...rest] = auxId.split('/');
  return (
    user !== undefined &&
    repository !== undefined &&
    rest.length === 0 &&
    GITHUB_USER.test(user) &&
    PACKAGE.test(repository)
  );
}
