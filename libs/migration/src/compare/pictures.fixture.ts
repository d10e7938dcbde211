/** Real files of small pictures. */
import sharp from 'sharp';

/** Colour of a pixel. */
export type Paint = (x: number, y: number) => readonly [red: number, green: number, blue: number];

/** A file of a picture; WebP and JPEG lose a little. */
export async function pictureFile(
  format: 'png' | 'jpeg' | 'webp',
  width: number,
  height: number,
  paint: Paint,
): Promise<Uint8Array> {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y += 1)
    for (let x = 0; x < width; x += 1) data.set(paint(x, y), (y * width + x) * 3);
  return sharp(data, { raw: { width, height, channels: 3 } })
    .toFormat(format)
    .toBuffer();
}

/** A landscape of soft hills: `seed` moves them, `noise` adds up to so many levels of grain. */
export function hills(seed: number, noise = 0, grain = 1): Paint {
  return (x, y) => {
    let wave = 128;
    for (let octave = 1; octave <= 6; octave += 1)
      wave +=
        Math.sin((x * octave + y * (octave % 3)) / 13 + seed * octave ** 2) *
        (50 / octave) *
        Math.cos((y * octave) / 17 + seed);
    const jitter = ((x * 73 + y * 151 + grain * 7919) % 101) / 50 - 1;
    const level = Math.round(Math.min(255, Math.max(0, wave + jitter * noise)));
    return [level, Math.round(level * 0.8), 255 - level];
  };
}
