import type { EndpointDefinition, FileInput } from '@ryla/workflow';
import { loadEndpoint } from '@ryla/workflow/node';

/** Inputs of the endpoint photo-finish. */
export interface PhotoFinishInputs {
  /** The photograph; without one, a public-domain photograph of a rocket launch. */
  readonly image?: FileInput;
  /** Width of the result in pixels, 64 to 4096. */
  readonly width?: number;
  /** How strongly it is sharpened, 0 to 5. */
  readonly sharpness?: number;
  /** How dark the edges become, 0 to 1. */
  readonly vignette?: number;
}

/** Names of the endpoint's outputs. */
export type PhotoFinishOutputs = 'picture';

/** The endpoint photo-finish, for `service.run(photoFinish, { … })`. */
export const photoFinish: EndpointDefinition<PhotoFinishInputs, PhotoFinishOutputs> = loadEndpoint(
  import.meta.dirname,
);
