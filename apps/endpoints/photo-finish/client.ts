/** Typed client of the endpoint photo-finish. `npx nx sync` writes this file from endpoint.json: edit that instead. */
import type { FileInput } from '@ryla/workflow';
import { loadEndpoint } from '@ryla/workflow/node';
import { z } from 'zod';

const file = z.custom<FileInput>(
  (value) => typeof value === 'object' && value !== null,
  'a file: { path }, { url }, { name, bytes } or { name, stream }',
);

/** Checks inputs of photo-finish that come from outside. */
export const photoFinishInputs = z.strictObject({
  /** The photograph. Without one, a public-domain photograph of a rocket launch is used. */
  image: file.optional(),
  /** Width of the result in pixels; the height follows. 64 to 4096. */
  width: z.int().min(64).max(4096).optional(),
  /** How strongly it is sharpened. 0 to 5. */
  sharpness: z.number().min(0).max(5).optional(),
  /** How dark the edges become. 0 to 1. */
  vignette: z.number().min(0).max(1).optional(),
});

/** Inputs of the endpoint photo-finish. */
export type PhotoFinishInputs = z.infer<typeof photoFinishInputs>;

/** Names of the endpoint's outputs. */
export type PhotoFinishOutputs = 'picture';

/** The endpoint photo-finish, for `service.run(photoFinish, { … })`. */
export const photoFinish = loadEndpoint<PhotoFinishInputs, PhotoFinishOutputs>(import.meta.dirname);
