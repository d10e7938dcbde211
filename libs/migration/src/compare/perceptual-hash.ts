/** pHash: which of the lowest frequencies of a small grey copy are above their median (as Python's ImageHash has it). */
import type { GreyPicture } from './decoded-picture.ts';

/** Side of the grey copy, and of the square of frequencies that is looked at. */
const COPY = 32;
const FREQUENCIES = 8;

/** Bits of a hash. */
export const HASH_BITS = FREQUENCIES * FREQUENCIES;

/** Coefficients are kept to this, so that the rounding of a flat picture is no pattern. */
const PRECISION = 1e6;

const COSINES = cosines();

/** The hash of a picture, {@link HASH_BITS} bits as hexadecimal digits. */
export function perceptualHash(picture: GreyPicture): string {
  const low = lowFrequencies(shrunk(picture));
  const sorted = Float64Array.from(low).sort();
  const median = ((sorted[HASH_BITS / 2 - 1] ?? 0) + (sorted[HASH_BITS / 2] ?? 0)) / 2;
  let bits = 0n;
  for (const value of low) bits = (bits << 1n) | (value > median ? 1n : 0n);
  return bits.toString(16).padStart(HASH_BITS / 4, '0');
}

/** Bits in which two hashes differ, 0 to {@link HASH_BITS}. */
export function hashDistance(a: string, b: string): number {
  let different = BigInt(`0x${a}`) ^ BigInt(`0x${b}`);
  let count = 0;
  for (; different > 0n; different >>= 1n) count += Number(different & 1n);
  return count;
}

/** A square copy: the mean of the part of the picture that each of its pixels covers. */
function shrunk({ width, height, data }: GreyPicture): Float64Array {
  const columns = Array.from({ length: COPY }, (_, index) => shares(index, width));
  const rows = Array.from({ length: COPY }, (_, index) => shares(index, height));
  const copy = new Float64Array(COPY * COPY);
  for (const [y, row] of rows.entries()) {
    for (const [x, column] of columns.entries()) {
      let sum = 0;
      for (const { at: line, share: down } of row)
        for (const { at, share } of column) sum += down * share * (data[line * width + at] ?? 0);
      copy[y * COPY + x] = sum;
    }
  }
  return copy;
}

/** The pixels of a line that one pixel of the copy covers, and the share that each has of it. */
function shares(index: number, length: number): readonly { readonly at: number; readonly share: number }[] {
  const from = (index * length) / COPY;
  const to = ((index + 1) * length) / COPY;
  const covered = [];
  for (let at = Math.floor(from); at < Math.min(length, Math.ceil(to)); at += 1)
    covered.push({ at, share: (Math.min(to, at + 1) - Math.max(from, at)) / (to - from) });
  return covered;
}

/** Type II of the cosine transform, rows and columns. */
function lowFrequencies(copy: Float64Array): Float64Array {
  const low = new Float64Array(HASH_BITS);
  for (let v = 0; v < FREQUENCIES; v += 1) {
    for (let u = 0; u < FREQUENCIES; u += 1) {
      let sum = 0;
      for (let y = 0; y < COPY; y += 1)
        for (let x = 0; x < COPY; x += 1)
          sum += (copy[y * COPY + x] ?? 0) * (COSINES[u * COPY + x] ?? 0) * (COSINES[v * COPY + y] ?? 0);
      low[v * FREQUENCIES + u] = Math.round(sum * PRECISION) / PRECISION;
    }
  }
  return low;
}

function cosines(): Float64Array {
  return Float64Array.from({ length: FREQUENCIES * COPY }, (_, index) => {
    const frequency = Math.floor(index / COPY);
    return Math.cos((Math.PI * frequency * (2 * (index % COPY) + 1)) / (2 * COPY));
  });
}
