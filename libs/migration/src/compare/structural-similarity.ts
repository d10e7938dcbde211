/** SSIM of two grey pictures (Wang, Bovik, Sheikh and Simoncelli, 2004), as scikit-image reckons it with Gaussian weights. */
import type { GreyPicture } from './decoded-picture.ts';

/** Standard deviation of the window in pixels, and its reach: the paper's 11 x 11 window. */
const SIGMA = 1.5;
const RADIUS = 5;
const WINDOW = 2 * RADIUS + 1;

/** The paper's constants, for values of 0 to 255. */
const C1 = (0.01 * 255) ** 2;
const C2 = (0.03 * 255) ** 2;

const WEIGHTS = weights();

/**
 * Mean structural similarity, 1 for equal pictures, of pictures of one size. Windows lie wholly inside; a picture that is smaller
 * than one, in either direction, is one window without weights.
 *
 * @throws {RangeError} for pictures of different sizes.
 */
export function structuralSimilarity(a: GreyPicture, b: GreyPicture): number {
  if (a.width !== b.width || a.height !== b.height)
    throw new RangeError('SSIM compares pictures of one size.');
  if (a.width < WINDOW || a.height < WINDOW) return wholeSimilarity(a, b);
  const meanA = blurred(a.data, a);
  const meanB = blurred(b.data, b);
  const squaresA = blurred(product(a.data, a.data), a);
  const squaresB = blurred(product(b.data, b.data), b);
  const products = blurred(product(a.data, b.data), a);
  let sum = 0;
  for (let index = 0; index < products.length; index += 1) {
    sum += similarity(
      meanA[index] ?? 0,
      meanB[index] ?? 0,
      squaresA[index] ?? 0,
      squaresB[index] ?? 0,
      products[index] ?? 0,
    );
  }
  return sum / products.length;
}

/** From means, means of squares, and the mean product. */
function similarity(
  meanA: number,
  meanB: number,
  squaresA: number,
  squaresB: number,
  products: number,
): number {
  const varianceA = squaresA - meanA * meanA;
  const varianceB = squaresB - meanB * meanB;
  const covariance = products - meanA * meanB;
  return (
    ((2 * meanA * meanB + C1) * (2 * covariance + C2)) /
    ((meanA * meanA + meanB * meanB + C1) * (varianceA + varianceB + C2))
  );
}

function wholeSimilarity(a: GreyPicture, b: GreyPicture): number {
  const mean = (values: Float64Array): number =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  return similarity(
    mean(a.data),
    mean(b.data),
    mean(product(a.data, a.data)),
    mean(product(b.data, b.data)),
    mean(product(a.data, b.data)),
  );
}

function product(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((value, index) => value * (b[index] ?? 0));
}

/** Means over the window around every pixel whose window lies inside: rows first, then columns. */
function blurred(data: Float64Array, { width, height }: { width: number; height: number }): Float64Array {
  const innerWidth = width - WINDOW + 1;
  const innerHeight = height - WINDOW + 1;
  const rows = new Float64Array(innerWidth * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < innerWidth; x += 1) {
      let sum = 0;
      for (let tap = 0; tap < WINDOW; tap += 1) sum += (WEIGHTS[tap] ?? 0) * (data[y * width + x + tap] ?? 0);
      rows[y * innerWidth + x] = sum;
    }
  }
  const means = new Float64Array(innerWidth * innerHeight);
  for (let y = 0; y < innerHeight; y += 1) {
    for (let x = 0; x < innerWidth; x += 1) {
      let sum = 0;
      for (let tap = 0; tap < WINDOW; tap += 1)
        sum += (WEIGHTS[tap] ?? 0) * (rows[(y + tap) * innerWidth + x] ?? 0);
      means[y * innerWidth + x] = sum;
    }
  }
  return means;
}

function weights(): Float64Array {
  const bell = Float64Array.from({ length: WINDOW }, (_, index) =>
    Math.exp(-((index - RADIUS) ** 2) / (2 * SIGMA ** 2)),
  );
  const sum = bell.reduce((total, value) => total + value, 0);
  return bell.map((value) => value / sum);
}
