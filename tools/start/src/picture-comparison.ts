import { readFile } from 'node:fs/promises';

import { PNG } from 'pngjs';

/** Pixels of a decoded picture: 8-bit RGBA, row by row. */
interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Buffer;
}

const PNG_SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

/**
 * Whether two files show the same picture. PNG files are compared by decoded pixels, because SaveImage
 * writes the prompt into the file; every other kind of file by its bytes.
 */
export async function samePicture(left: string, right: string): Promise<boolean> {
  const [a, b] = await Promise.all([readFile(left), readFile(right)]);
  const [pixelsA, pixelsB] = [decode(a), decode(b)];
  if (pixelsA === undefined || pixelsB === undefined) return a.equals(b);
  return (
    pixelsA.width === pixelsB.width && pixelsA.height === pixelsB.height && pixelsA.data.equals(pixelsB.data)
  );
}

/**
 * Whether every list of files shows the same pictures in the same order.
 * `null` when there is nothing to compare: fewer than two lists, or lists without files.
 */
export async function samePictures(lists: readonly (readonly string[])[]): Promise<boolean | null> {
  const [first, ...others] = lists;
  if (first === undefined || others.length === 0 || lists.every((list) => list.length === 0)) return null;
  for (const other of others) {
    if (other.length !== first.length) return false;
    for (const [index, file] of first.entries()) {
      const counterpart = other[index];
      if (counterpart === undefined || !(await samePicture(file, counterpart))) return false;
    }
  }
  return true;
}

function decode(bytes: Buffer): Pixels | undefined {
  return bytes.subarray(0, 8).equals(PNG_SIGNATURE) ? PNG.sync.read(bytes) : undefined;
}
