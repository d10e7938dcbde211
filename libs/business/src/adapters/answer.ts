/** What adapters do with what a backend answers. */
import type { z } from 'zod';

import { ComfyUIServiceError } from '../errors.ts';

/**
 * An answer in the shape that it must have.
 *
 * @param whose subject of the message, such as `RunPod's answer`.
 * @throws {ComfyUIServiceError} `invalid_response`, naming the first thing that does not fit.
 */
export function parsedAnswer<T>(schema: z.ZodType<T>, value: unknown, whose: string): T {
  const checked = schema.safeParse(value);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw new ComfyUIServiceError(
    'invalid_response',
    `${whose} has an unexpected shape: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}.`,
    { cause: checked.error, accepted: 'unknown' },
  );
}

/** JSON of a text; undefined when it is none. */
export function jsonOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Throws what went wrong before a submission: the backend surely did not take it. */
export function notAccepted(error: unknown): never {
  throw ComfyUIServiceError.isInstance(error) ? error.with({ accepted: 'no' }) : error;
}
