/** Pictures as pixels. */

/** Grey values of 0 to 255, row by row. */
export interface GreyPicture {
  readonly width: number;
  readonly height: number;
  readonly data: Float64Array;
}

/** A decoded picture: 8-bit sRGB with alpha, row by row; the frames of an animation lie below each other. */
export interface DecodedPicture {
  /** As the file's content says, not its name: `png`, `jpeg`, `webp` … */
  readonly format: string;
  readonly width: number;
  /** Of one frame. */
  readonly height: number;
  readonly frames: number;
  /** Red, green, blue, alpha: `width * height * frames * 4` bytes. */
  readonly data: Uint8Array;
}

/** What a reader sees through transparent pixels, so that alpha shows in the grey copy. */
const BEHIND = 128;

/** Pixels from which a file is refused, frames together: sharp's own limit, 16,384 x 16,384. */
const MAXIMUM_PIXELS = 0x3fff * 0x3fff;

/** Decodes PNG, JPEG, WebP, GIF, AVIF and TIFF; undefined for what is no such picture, or a broken one. */
export async function decodePicture(bytes: Uint8Array): Promise<DecodedPicture | undefined> {
  const { default: sharp } = await import('sharp');
  try {
    const picture = sharp(bytes, { pages: -1, limitInputPixels: MAXIMUM_PIXELS, failOn: 'error' });
    const { format, pages = 1 } = await picture.metadata();
    const { data, info } = await picture
      .toColourspace('srgb')
      .ensureAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { format, width: info.width, height: info.height / pages, frames: pages, data };
  } catch {
    return undefined;
  }
}

/** Luminance (ITU-R BT.601) over grey; frames below each other. */
export function greyOf({ width, height, frames, data }: DecodedPicture): GreyPicture {
  const grey = new Float64Array(width * height * frames);
  for (let pixel = 0; pixel < grey.length; pixel += 1) {
    const at = pixel * 4;
    const light = 0.299 * (data[at] ?? 0) + 0.587 * (data[at + 1] ?? 0) + 0.114 * (data[at + 2] ?? 0);
    const alpha = (data[at + 3] ?? 0) / 255;
    grey[pixel] = light * alpha + BEHIND * (1 - alpha);
  }
  return { width, height: height * frames, data: grey };
}
