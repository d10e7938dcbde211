/** Typed client of the endpoint z-image-turbo. `npx nx sync` writes this file from endpoint.json: edit that instead. */
import { loadEndpoint } from '@ryla/workflow/node';
import { z } from 'zod';

/** Checks inputs of z-image-turbo that come from outside. */
export const zImageTurboInputs = z.strictObject({
  /** What the picture shows, in English or Chinese. at most 4000 characters. */
  prompt: z.string().max(4000).optional(),
  /** The same seed and prompt give the same picture. 0 to 2^53-1. */
  seed: z.int().min(0).optional(),
  /** Sampler steps; the model is made for 8. 1 to 50. */
  steps: z.int().min(1).max(50).optional(),
  /** Width in pixels. 256 to 2048. */
  width: z.int().min(256).max(2048).optional(),
  /** Height in pixels. 256 to 2048. */
  height: z.int().min(256).max(2048).optional(),
});

/** Inputs of the endpoint z-image-turbo. */
export type ZImageTurboInputs = z.infer<typeof zImageTurboInputs>;

/** Names of the endpoint's outputs. */
export type ZImageTurboOutputs = 'picture';

/** The endpoint z-image-turbo, for `service.run(zImageTurbo, { … })`. */
export const zImageTurbo = loadEndpoint<ZImageTurboInputs, ZImageTurboOutputs>(import.meta.dirname);
