/** How far two pictures are from each other. */
import { type DecodedPicture, greyOf } from './decoded-picture.ts';
import { hashDistance, perceptualHash } from './perceptual-hash.ts';
import { structuralSimilarity } from './structural-similarity.ts';

/** Distances of two pictures of one size. */
export interface PictureDifference {
  /** 1 less the SSIM of the grey pictures; 0 for equal ones. */
  readonly ssimLoss: number;
  /** Bits of 64 in which the pHashes differ. */
  readonly hashBits: number;
  /** Mean difference of the colour and alpha values, 0 to 255: what neither SSIM nor pHash sees, such as a tint. */
  readonly meanDifference: number;
  /** Share of pixels that differ at all. */
  readonly changedShare: number;
  /** Largest difference of a colour or alpha value, 0 to 255. */
  readonly largest: number;
}

/** What is exactly alike or not: one sentence for each fact that differs. */
export function differentFacts(old: DecodedPicture, now: DecodedPicture): readonly string[] {
  const facts = [];
  if (old.format !== now.format) facts.push(`The format was ${old.format} and is ${now.format}.`);
  if (old.width !== now.width || old.height !== now.height)
    facts.push(`The size was ${old.width} x ${old.height} and is ${now.width} x ${now.height} pixels.`);
  if (old.frames !== now.frames) facts.push(`It had ${old.frames} frames and has ${now.frames}.`);
  return facts;
}

/** Distances of two pictures with equal {@link differentFacts}. */
export function pictureDifference(old: DecodedPicture, now: DecodedPicture): PictureDifference {
  const { changed, largest, sum } = pixelDifference(old.data, now.data);
  if (changed === 0) return { ssimLoss: 0, hashBits: 0, meanDifference: 0, changedShare: 0, largest: 0 };
  const [greyOld, greyNow] = [greyOf(old), greyOf(now)];
  return {
    ssimLoss: Math.max(0, 1 - structuralSimilarity(greyOld, greyNow)),
    hashBits: hashDistance(perceptualHash(greyOld), perceptualHash(greyNow)),
    meanDifference: sum / old.data.length,
    changedShare: changed / (old.data.length / 4),
    largest,
  };
}

function pixelDifference(a: Uint8Array, b: Uint8Array): { changed: number; largest: number; sum: number } {
  let [changed, largest, sum] = [0, 0, 0];
  for (let at = 0; at < a.length; at += 4) {
    let most = 0;
    for (let channel = at; channel < at + 4; channel += 1) {
      const difference = Math.abs((a[channel] ?? 0) - (b[channel] ?? 0));
      sum += difference;
      if (difference > most) most = difference;
    }
    if (most > 0) changed += 1;
    if (most > largest) largest = most;
  }
  return { changed, largest, sum };
}
