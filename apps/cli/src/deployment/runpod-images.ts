import { readFileSync } from 'node:fs';

import { z } from 'zod';

import { UsageError } from '../exit-codes.ts';

/** Images by endpoint. {@link LIVE_IMAGE} keeps the one that is live. */
export type Images = Readonly<Record<string, string>>;

/** In place of an image: the one that is live. For a change of settings only. */
export const LIVE_IMAGE = 'live';

/**
 * Reads `--image <endpoint>=<reference>` and `--images <file>`, a JSON object of the same that an image build leaves.
 *
 * @throws {UsageError} that says how it is written.
 */
export function readImages(pairs: readonly string[], file: string | undefined): Images {
  const images: Record<string, string> = file === undefined ? {} : readFile(file);
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1 || at === pair.length - 1)
      throw new UsageError(`Write an image as <endpoint>=<registry/name@sha256:…>, not "${pair}".`);
    images[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return images;
}

function readFile(file: string): Record<string, string> {
  try {
    return z.record(z.string(), z.string()).parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw new UsageError(
      `${file} is no JSON object of images by endpoint, such as {"photo-finish": "registry/name@sha256:…"}.`,
      'usage',
      { cause },
    );
  }
}
