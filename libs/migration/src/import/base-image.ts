import { z } from 'zod';

import data from './worker-images.json' with { type: 'json' };

const images = z
  .object({
    date: z.string(),
    source: z.string(),
    repositories: z.array(z.string()),
    comfyui: z.record(z.string(), z.string()),
    variants: z.record(z.string(), z.array(z.string())),
  })
  .parse(data);

/** What an image's name tells. */
export type BaseImage =
  /** A release of worker-comfyui whose ComfyUI is known. */
  | {
      readonly kind: 'known';
      readonly comfyui: string;
      readonly models: readonly string[] | undefined;
      readonly variant: string;
    }
  /** A release of worker-comfyui of which nobody wrote down the version. */
  | { readonly kind: 'unknown_release'; readonly tag: string }
  /** Somebody's own image. */
  | { readonly kind: 'custom' };

const TAG = /^(?<release>\d+\.\d+\.\d+)(?:-(?<variant>[a-z0-9.-]+?))?(?:-cuda[\d.]+)?$/;

/** Reads an image's name, such as `runpod/worker-comfyui:5.2.0-flux1-schnell`. */
export function readBaseImage(image: string): BaseImage {
  const [name = '', tag = ''] = image
    .replace(/^(docker\.io|index\.docker\.io)\//, '')
    .replace(/@.*$/, '')
    .split(':');
  if (!images.repositories.includes(name)) return { kind: 'custom' };
  const { release = '', variant = 'base' } = TAG.exec(tag)?.groups ?? {};
  const comfyui = images.comfyui[release];
  return comfyui === undefined
    ? { kind: 'unknown_release', tag }
    : { kind: 'known', comfyui, variant, models: images.variants[variant] };
}
