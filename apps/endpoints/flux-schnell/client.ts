import type { EndpointDefinition } from '@ryla/workflow';
import { loadEndpoint } from '@ryla/workflow/node';

/** Inputs of the endpoint flux-schnell. */
export interface FluxSchnellInputs {
  /** What the picture shows. */
  readonly prompt?: string;
  /** The same seed and prompt give the same picture. */
  readonly seed?: number;
  /** Sampler steps, 1 to 50; the model is made for 4. */
  readonly steps?: number;
  /** Pixels, 256 to 2048. */
  readonly width?: number;
  /** Pixels, 256 to 2048. */
  readonly height?: number;
}

/** Names of the endpoint's outputs. */
export type FluxSchnellOutputs = 'picture';

/** The endpoint flux-schnell, for `service.run(fluxSchnell, { … })`. */
export const fluxSchnell: EndpointDefinition<FluxSchnellInputs, FluxSchnellOutputs> = loadEndpoint(
  import.meta.dirname,
);
