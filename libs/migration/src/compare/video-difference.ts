/** How far two videos are from each other. */
import { areEqualSounds, differentSounds } from './sound-facts.ts';
import { secondsOf } from './decoded-audio.ts';
import type { DecodedPicture } from './decoded-picture.ts';
import type { DecodedVideo } from './decoded-video.ts';
import { type PictureDifference, pictureDifference } from './picture-difference.ts';
import { spectrogram } from './spectrogram.ts';

/** What two videos with equal {@link differentVideoFacts} differ in. */
export interface VideoDifference {
  /** The largest of each distance, of all frames and the sound's spectrogram: a frame that differs is not averaged away. */
  readonly difference: PictureDifference;
  /** The two frames, or spectrograms, that differ most. */
  readonly shown: readonly [old: DecodedPicture, now: DecodedPicture];
  /** Which frames differ and whether the sound does. */
  readonly reasons: readonly string[];
  /** Whether every pixel of every frame and every sample was compared, and all are equal. */
  readonly isSame: boolean;
  /** Whether both have sound, of which one at least was not decoded. */
  readonly isSoundUnheard: boolean;
}

/** One sentence for each fact that differs: codec, size, rate, frames, length (by a frame or more), sound track. */
export function differentVideoFacts(old: DecodedVideo, now: DecodedVideo): readonly string[] {
  const facts: string[] = [];
  if (old.codec !== now.codec) facts.push(`The codec was ${old.codec} and is ${now.codec}.`);
  if (old.width !== now.width || old.height !== now.height)
    facts.push(`The size was ${old.width} x ${old.height} and is ${now.width} x ${now.height} pixels.`);
  if (old.frameRate !== now.frameRate)
    facts.push(`It had ${old.frameRate} frames a second and has ${now.frameRate}.`);
  if (old.frameCount !== now.frameCount)
    facts.push(`It had ${old.frameCount} frames and has ${now.frameCount}.`);
  if (Math.abs(old.seconds - now.seconds) >= old.seconds / old.frameCount)
    facts.push(`It lasted ${old.seconds.toFixed(2)} s and lasts ${now.seconds.toFixed(2)} s.`);
  if (old.hasAudio !== now.hasAudio)
    facts.push(`It had ${soundOrNone(old.hasAudio)} and has ${soundOrNone(now.hasAudio)}.`);
  else if (old.sound !== undefined && now.sound !== undefined)
    facts.push(...differentSounds(old.sound, now.sound).map((fact) => `Sound track: ${fact}`));
  return facts;
}

/** Distances of the sampled frames and of the sound. */
export function videoDifference(old: DecodedVideo, now: DecodedVideo): VideoDifference {
  const frames = old.frames.map((frame, index): Compared => {
    const pictures = [
      pictureOf(old, frame.data),
      pictureOf(now, now.frames[index]?.data ?? frame.data),
    ] as const;
    return { pictures, difference: pictureDifference(...pictures), seconds: frame.seconds };
  });
  const differing = frames.filter(({ difference }) => difference.changedShare > 0);
  const sound = comparedSound(old, now);
  const isSoundUnheard = old.hasAudio && (old.sound === undefined || now.sound === undefined);
  const all = sound === undefined ? frames : [...frames, sound];
  const worst = all.toSorted((a, b) => distanceOf(b) - distanceOf(a))[0];
  if (worst === undefined) throw new Error('A decoded video has one frame at least.');
  return {
    difference: all.map(({ difference }) => difference).reduce(largestOf),
    shown: worst.pictures,
    reasons: [
      framesReason(frames.length, differing),
      ...(sound?.areSamplesEqual === false ? ['The samples of the sound differ.'] : []),
    ],
    isSame:
      differing.length === 0 &&
      sound?.areSamplesEqual !== false &&
      !isSoundUnheard &&
      isWhole(old) &&
      isWhole(now),
    isSoundUnheard,
  };
}

interface Compared {
  readonly pictures: readonly [DecodedPicture, DecodedPicture];
  readonly difference: PictureDifference;
  readonly seconds?: number;
  readonly areSamplesEqual?: boolean;
}

function pictureOf({ codec, frameWidth, frameHeight }: DecodedVideo, data: Uint8Array): DecodedPicture {
  return { format: codec, width: frameWidth, height: frameHeight, frames: 1, data };
}

function comparedSound({ sound: old }: DecodedVideo, { sound: now }: DecodedVideo): Compared | undefined {
  if (old === undefined || now === undefined) return undefined;
  const seconds = Math.max(secondsOf(old), secondsOf(now));
  const pictures = [spectrogram(old, seconds), spectrogram(now, seconds)] as const;
  return { pictures, difference: pictureDifference(...pictures), areSamplesEqual: areEqualSounds(old, now) };
}

/** Whether the sampled frames are all there is of the pictures. */
function isWhole({ frames, frameCount, width, frameWidth, height, frameHeight }: DecodedVideo): boolean {
  return frames.length === frameCount && width === frameWidth && height === frameHeight;
}

function framesReason(count: number, differing: readonly Compared[]): string {
  const [worst] = differing.toSorted((a, b) => distanceOf(b) - distanceOf(a));
  if (worst === undefined) return `All ${count} sampled frames are equal.`;
  const at = (worst.seconds ?? 0).toFixed(2);
  return `${differing.length} of ${count} sampled frames differ, most the one at ${at} s.`;
}

function distanceOf({ difference }: Compared): number {
  return difference.ssimLoss + difference.meanDifference / 255;
}

function largestOf(a: PictureDifference, b: PictureDifference): PictureDifference {
  return {
    ssimLoss: Math.max(a.ssimLoss, b.ssimLoss),
    hashBits: Math.max(a.hashBits, b.hashBits),
    meanDifference: Math.max(a.meanDifference, b.meanDifference),
    changedShare: Math.max(a.changedShare, b.changedShare),
    largest: Math.max(a.largest, b.largest),
  };
}

function soundOrNone(has: boolean): string {
  return has ? 'sound' : 'no sound';
}
