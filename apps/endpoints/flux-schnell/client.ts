/** Typed client of the endpoint flux-schnell. `npx nx sync` writes this file from endpoint.json: edit that instead. */
import { loadEndpoint } from '@ryla/workflow/node';
import { z } from 'zod';

/** Checks inputs of flux-schnell that come from outside. */
export const fluxSchnellInputs = z.strictObject({
  /** What the picture shows; it goes to both text encoders. at most 4000 characters. */
  prompt: z.string().max(4000).optional(),
  /** The same seed and prompt give the same picture. 0 to 2^53-1. */
  seed: z.int().min(0).optional(),
  /** Sampler steps; the model is made for 4. 1 to 50. */
  steps: z.int().min(1).max(50).optional(),
  /** Width in pixels. 256 to 2048. */
  width: z.int().min(256).max(2048).optional(),
  /** Height in pixels. 256 to 2048. */
  height: z.int().min(256).max(2048).optional(),
});

/** Inputs of the endpoint flux-schnell. */
export type FluxSchnellInputs = z.infer<typeof fluxSchnellInputs>;

/** Names of the endpoint's outputs. */
export type FluxSchnellOutputs = 'picture';

/** The endpoint flux-schnell, for `service.run(fluxSchnell, { … })`. */
export const fluxSchnell = loadEndpoint<FluxSchnellInputs, FluxSchnellOutputs>(import.meta.dirname);
