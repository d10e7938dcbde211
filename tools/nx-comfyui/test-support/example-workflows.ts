/** Workflows of our own, of ComfyUI's own classes, and a network that knows every model. */
import type { PinResolver } from '@ryla/workflow/node';

/** Pins without a network: always the same revision, size and hash. */
export const resolver: PinResolver = {
  file: (url) =>
    Promise.resolve({
      url: url.replace('/resolve/main/', `/resolve/${'a'.repeat(40)}/`),
      size: 2_000_000_000,
      sha256: 'b'.repeat(64),
    }),
  commit: () => Promise.resolve({ commit: 'c'.repeat(40) }),
};

/** No network at all. */
export const unreachable: PinResolver = {
  file: () => Promise.resolve(undefined),
  commit: () => Promise.resolve(undefined),
};

/** Text to picture, in API format. */
export function textToPicture(): Record<string, Record<string, unknown>> {
  return {
    '1': { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: 'small.safetensors' } },
    '2': { class_type: 'CLIPTextEncode', inputs: { text: 'a red fox', clip: ['1', 1] } },
    '3': { class_type: 'CLIPTextEncode', inputs: { text: 'blurry', clip: ['1', 1] } },
    '4': { class_type: 'EmptyLatentImage', inputs: { width: 512, height: 512, batch_size: 1 } },
    '5': {
      class_type: 'KSampler',
      inputs: {
        seed: 7,
        steps: 4,
        cfg: 6.5,
        sampler_name: 'euler',
        scheduler: 'normal',
        denoise: 1,
        model: ['1', 0],
        positive: ['2', 0],
        negative: ['3', 0],
        latent_image: ['4', 0],
      },
    },
    '6': { class_type: 'VAEDecode', inputs: { samples: ['5', 0], vae: ['1', 2] } },
    '7': { class_type: 'SaveImage', inputs: { filename_prefix: 'fox', images: ['6', 0] } },
  };
}

/** A picture made smaller, without any model, in API format. */
export function smallerPicture(): Record<string, Record<string, unknown>> {
  return {
    '1': { class_type: 'LoadImage', inputs: { image: 'example.png' } },
    '2': {
      class_type: 'ImageScale',
      inputs: { upscale_method: 'area', width: 128, height: 96, crop: 'center', image: ['1', 0] },
      _meta: { title: '@input width=width @input height=height' },
    },
    '3': { class_type: 'SaveImage', inputs: { filename_prefix: 'small', images: ['2', 0] } },
  };
}

/** Text to picture as ComfyUI's page saves it, with the model's address. */
export function textToPictureOfThePage(): Record<string, unknown> {
  return {
    last_node_id: 7,
    last_link_id: 9,
    version: 0.4,
    nodes: [
      {
        id: 1,
        type: 'CheckpointLoaderSimple',
        mode: 0,
        inputs: [],
        outputs: [
          { name: 'MODEL', type: 'MODEL', links: [1] },
          { name: 'CLIP', type: 'CLIP', links: [2, 3] },
          { name: 'VAE', type: 'VAE', links: [8] },
        ],
        properties: {
          models: [
            {
              name: 'small.safetensors',
              url: 'https://huggingface.co/example/small/resolve/main/small.safetensors',
              directory: 'checkpoints',
            },
          ],
        },
        widgets_values: ['small.safetensors'],
      },
      textNode(2, 2, 4, 'a red fox'),
      textNode(3, 3, 5, 'blurry'),
      {
        id: 4,
        type: 'EmptyLatentImage',
        mode: 0,
        inputs: [],
        outputs: [{ name: 'LATENT', type: 'LATENT', links: [6] }],
        widgets_values: [512, 512, 1],
      },
      {
        id: 5,
        type: 'KSampler',
        mode: 0,
        inputs: [
          { name: 'model', type: 'MODEL', link: 1 },
          { name: 'positive', type: 'CONDITIONING', link: 4 },
          { name: 'negative', type: 'CONDITIONING', link: 5 },
          { name: 'latent_image', type: 'LATENT', link: 6 },
        ],
        outputs: [{ name: 'LATENT', type: 'LATENT', links: [7] }],
        widgets_values: [7, 'fixed', 4, 6.5, 'euler', 'normal', 1],
      },
      {
        id: 6,
        type: 'VAEDecode',
        mode: 0,
        inputs: [
          { name: 'samples', type: 'LATENT', link: 7 },
          { name: 'vae', type: 'VAE', link: 8 },
        ],
        outputs: [{ name: 'IMAGE', type: 'IMAGE', links: [9] }],
        widgets_values: [],
      },
      {
        id: 7,
        type: 'SaveImage',
        mode: 0,
        inputs: [{ name: 'images', type: 'IMAGE', link: 9 }],
        outputs: [],
        widgets_values: ['fox'],
      },
    ],
    links: [
      [1, 1, 0, 5, 0, 'MODEL'],
      [2, 1, 1, 2, 0, 'CLIP'],
      [3, 1, 1, 3, 0, 'CLIP'],
      [4, 2, 0, 5, 1, 'CONDITIONING'],
      [5, 3, 0, 5, 2, 'CONDITIONING'],
      [6, 4, 0, 5, 3, 'LATENT'],
      [7, 5, 0, 6, 0, 'LATENT'],
      [8, 1, 2, 6, 1, 'VAE'],
      [9, 6, 0, 7, 0, 'IMAGE'],
    ],
    groups: [],
  };
}

function textNode(id: number, clip: number, out: number, text: string): Record<string, unknown> {
  return {
    id,
    type: 'CLIPTextEncode',
    mode: 0,
    inputs: [{ name: 'clip', type: 'CLIP', link: clip }],
    outputs: [{ name: 'CONDITIONING', type: 'CONDITIONING', links: [out] }],
    widgets_values: [text],
  };
}
