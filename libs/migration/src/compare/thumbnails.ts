/** Small copies of a pair of pictures and of their difference, for a report. */
import type { DecodedPicture } from './decoded-picture.ts';

/** Longest side of a copy, in pixels. */
export const THUMBNAIL_PIXELS = 480;

/** Differences are shown this many times as strong: rounding of 1 or 2 would not be seen. */
export const AMPLIFICATION = 8;

/** WebP's quality: enough to see what is to be seen, at some 20 kB a copy. */
const QUALITY = 80;

/** WebP files as base64. */
export interface Thumbnails {
  readonly old: string;
  readonly new: string;
  /** Absent where the sizes differ. */
  readonly difference: string | undefined;
}

/** Copies of the first frame of each picture. */
export async function thumbnails(old: DecodedPicture, now: DecodedPicture): Promise<Thumbnails> {
  const isAlike = old.width === now.width && old.height === now.height;
  return {
    old: await small(old),
    new: await small(now),
    difference: isAlike ? await encoded(strongestDifferences(old, now)) : undefined,
  };
}

/** 8-bit RGBA. */
interface Frame {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

async function small(picture: DecodedPicture): Promise<string> {
  const { width, height } = picture;
  return encoded({ width, height, data: picture.data.subarray(0, width * height * 4) });
}

async function encoded({ width, height, data }: Frame): Promise<string> {
  const { default: sharp } = await import('sharp');
  const file = await sharp(data, { raw: { width, height, channels: 4 } })
    .resize({ width: THUMBNAIL_PIXELS, height: THUMBNAIL_PIXELS, fit: 'inside', withoutEnlargement: true })
    .webp({ quality: QUALITY })
    .toBuffer();
  return file.toString('base64');
}

/** The largest difference of the pixels behind each pixel of the copy: one wrong pixel stays visible. */
function strongestDifferences(old: DecodedPicture, now: DecodedPicture): Frame {
  const scale = Math.max(1, Math.max(old.width, old.height) / THUMBNAIL_PIXELS);
  const width = Math.max(1, Math.floor(old.width / scale));
  const height = Math.max(1, Math.floor(old.height / scale));
  const data = new Uint8Array(width * height * 4);
  for (let y = 0; y < old.height; y += 1) {
    const row = Math.min(height - 1, Math.floor((y * height) / old.height));
    for (let x = 0; x < old.width; x += 1) {
      const to = (row * width + Math.min(width - 1, Math.floor((x * width) / old.width))) * 4;
      const from = (y * old.width + x) * 4;
      for (let channel = 0; channel < 3; channel += 1) {
        const difference = Math.abs((old.data[from + channel] ?? 0) - (now.data[from + channel] ?? 0));
        data[to + channel] = Math.max(data[to + channel] ?? 0, Math.min(255, difference * AMPLIFICATION));
      }
      data[to + 3] = 255;
    }
  }
  return { width, height, data };
}
