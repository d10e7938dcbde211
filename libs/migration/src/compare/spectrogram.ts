/** Sound as a picture of its spectrum, so that sound is compared, judged and shown as pictures are. */
import type { DecodedAudio } from './decoded-audio.ts';
import type { DecodedPicture } from './decoded-picture.ts';

/** Samples of one spectrum: 46 ms at 44.1 kHz. */
export const WINDOW = 2_048;

/** Bands of a spectrum, evenly wide in mels: as far apart as they are heard. */
export const BANDS = 96;

/** Columns at least, so that a picture's measures have room, and at most: more sound is sampled evenly. */
const COLUMNS = { least: 16, most: 1_024 } as const;

/** Decibels below full scale that are black; white is full scale. */
const FLOOR_DB = -80;

/**
 * The spectrogram: time from left to right, bands from low (below) to high, channels below each other, grey by decibels. Each column is
 * one Hann window; a band has the largest power of its bins.
 *
 * @param seconds how much of it is looked at, from the beginning; beyond its end is silence.
 */
export function spectrogram({ sampleRate, channels }: DecodedAudio, seconds: number): DecodedPicture {
  const length = Math.round(seconds * sampleRate);
  const columns = Math.min(COLUMNS.most, Math.max(COLUMNS.least, Math.ceil(length / (WINDOW / 2))));
  const data = new Uint8Array(columns * BANDS * channels.length * 4);
  const edges = bandEdges(sampleRate);
  for (const [index, channel] of channels.entries())
    for (let column = 0; column < columns; column += 1) {
      const start = Math.round((column * Math.max(0, length - WINDOW)) / Math.max(1, columns - 1));
      const power = powerSpectrum(channel, start);
      for (let band = 0; band < BANDS; band += 1) {
        const row = (index + 1) * BANDS - 1 - band;
        const grey = greyOfPower(bandPower(power, edges[band] ?? 0, edges[band + 1] ?? 0));
        data.fill(grey, (row * columns + column) * 4, (row * columns + column) * 4 + 3);
        data[(row * columns + column) * 4 + 3] = 255;
      }
    }
  return { format: 'spectrum', width: columns, height: BANDS, frames: channels.length, data };
}

const hann = Float64Array.from(
  { length: WINDOW },
  (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW),
);

const cosines = Float64Array.from({ length: WINDOW / 2 }, (_, k) => Math.cos((-2 * Math.PI * k) / WINDOW));
const sines = Float64Array.from({ length: WINDOW / 2 }, (_, k) => Math.sin((-2 * Math.PI * k) / WINDOW));

/** Power of each frequency, 0 to half the rate; a sine of full scale has 1 in its own. */
export function powerSpectrum(samples: Float32Array, start: number): Float64Array {
  const real = Float64Array.from(hann, (weight, n) => weight * (samples[start + n] ?? 0));
  const imaginary = new Float64Array(WINDOW);
  transform(real, imaginary);
  // A Hann window keeps half of a sine's height, which is half at each of its two frequencies.
  const scale = (4 / WINDOW) ** 2;
  return Float64Array.from(
    { length: WINDOW / 2 + 1 },
    (_, bin) => ((real[bin] ?? 0) ** 2 + (imaginary[bin] ?? 0) ** 2) * scale,
  );
}

/** The discrete Fourier transform in place: radix 2, decimation in time. */
function transform(real: Float64Array, imaginary: Float64Array): void {
  for (let index = 1, reversed = 0; index < WINDOW; index += 1) {
    let bit = WINDOW >> 1;
    for (; (reversed & bit) !== 0; bit >>= 1) reversed ^= bit;
    reversed ^= bit;
    if (index < reversed) swap(real, index, reversed);
  }
  for (let size = 2; size <= WINDOW; size *= 2) {
    const [half, stride] = [size / 2, WINDOW / size];
    for (let at = 0; at < WINDOW; at += size)
      for (let k = 0; k < half; k += 1) {
        const [cosine, sine] = [cosines[k * stride] ?? 0, sines[k * stride] ?? 0];
        const [low, high] = [at + k, at + k + half];
        const [x, y] = [real[high] ?? 0, imaginary[high] ?? 0];
        const [turnedX, turnedY] = [x * cosine - y * sine, x * sine + y * cosine];
        real[high] = (real[low] ?? 0) - turnedX;
        imaginary[high] = (imaginary[low] ?? 0) - turnedY;
        real[low] = (real[low] ?? 0) + turnedX;
        imaginary[low] = (imaginary[low] ?? 0) + turnedY;
      }
  }
}

function swap(values: Float64Array, a: number, b: number): void {
  const kept = values[a] ?? 0;
  values[a] = values[b] ?? 0;
  values[b] = kept;
}

/** Bins between which the bands lie. */
function bandEdges(sampleRate: number): readonly number[] {
  // Mels of O'Shaughnessy: 2595 log10(1 + f / 700).
  const highest = 2_595 * Math.log10(1 + sampleRate / 2 / 700);
  return Array.from({ length: BANDS + 1 }, (_, index) => {
    const hertz = 700 * (10 ** ((index / BANDS) * (highest / 2_595)) - 1);
    return (hertz / sampleRate) * WINDOW;
  });
}

/** The largest power from one edge to the next; a narrow band has that of its nearest bin. */
function bandPower(power: Float64Array, from: number, to: number): number {
  const [first, last] = [Math.floor(from), Math.max(Math.floor(from), Math.ceil(to) - 1)];
  let most = 0;
  for (let bin = first; bin <= last; bin += 1) most = Math.max(most, power[bin] ?? 0);
  return most;
}

function greyOfPower(power: number): number {
  const decibels = power > 0 ? 10 * Math.log10(power) : FLOOR_DB;
  return Math.round(255 * Math.min(1, Math.max(0, 1 - decibels / FLOOR_DB)));
}
