/** Outputs of two jobs with the same inputs, side by side. */
import type { ComparedOutput, ComparedPair } from './comparison.ts';
import { containerOf } from './container.ts';
import { decodeAudio, secondsOf } from './decoded-audio.ts';
import { type DecodedPicture, decodePicture } from './decoded-picture.ts';
import type { DecodedVideo, UndecodedVideo, VideoReading } from './decoded-video.ts';
import { differentFacts, pictureDifference } from './picture-difference.ts';
import { areEqualSounds, differentSounds } from './sound-facts.ts';
import { spectrogram } from './spectrogram.ts';
import { type Thumbnails, thumbnails } from './thumbnails.ts';
import { differentVideoFacts, videoDifference } from './video-difference.ts';

const NEVER = new AbortController().signal;

/** An output with its content. */
export interface LoadedOutput extends ComparedOutput {
  readonly content: Uint8Array;
}

/** A pair before it is judged: `undefined` where only its distance decides. */
export interface UnjudgedPair extends Omit<ComparedPair, 'result'> {
  readonly result: ComparedPair['result'] | undefined;
  readonly thumbnails: Thumbnails | undefined;
}

/** Pairs the outputs of two jobs by their nodes and their order; what only one job made differs. */
export async function pairOutputs(
  run: number,
  against: ComparedPair['against'],
  old: readonly LoadedOutput[],
  other: readonly LoadedOutput[],
  videos: VideoReading = {},
): Promise<readonly UnjudgedPair[]> {
  const places = new Map([...placed(old), ...placed(other)].map(([key, output]) => [key, output]));
  const [olds, others] = [new Map(placed(old)), new Map(placed(other))];
  const pairs: UnjudgedPair[] = [];
  for (const [key, { node, name, kind }] of places) {
    const place = { run, against, node, index: Number(key.slice(key.lastIndexOf('/') + 1)), name, kind };
    const [mine, theirs] = [olds.get(key), others.get(key)];
    if (mine === undefined || theirs === undefined) {
      const lacks = mine === undefined ? 'The old side made none.' : 'Only the old side made it.';
      pairs.push({ ...place, ...decided('differs', lacks) });
    } else pairs.push({ ...place, ...(await compared(mine, theirs, against === 'new', videos)) });
  }
  return pairs;
}

type Found = Pick<UnjudgedPair, 'result' | 'reasons' | 'difference' | 'thumbnails'>;

function placed(outputs: readonly LoadedOutput[]): [string, LoadedOutput][] {
  const counts = new Map<string, number>();
  return outputs.map((output) => {
    const index = counts.get(output.node) ?? 0;
    counts.set(output.node, index + 1);
    return [`${output.node}/${index}`, output];
  });
}

async function compared(
  old: LoadedOutput,
  now: LoadedOutput,
  isShown: boolean,
  videos: VideoReading,
): Promise<Found> {
  if (old.kind !== now.kind) return decided('differs', `The kind was ${old.kind} and is ${now.kind}.`);
  // A video may be an animated picture (WebP, GIF), whose frames are decoded.
  if (old.kind === 'image' || old.kind === 'video') {
    const [mine, theirs] = [await decodePicture(old.content), await decodePicture(now.content)];
    if (mine !== undefined && theirs !== undefined) return comparedPictures(mine, theirs, isShown);
    if (mine !== undefined || theirs !== undefined) return decided('differs', broken('picture', mine));
  }
  if (old.sha256 === now.sha256) return decided('same');
  if (old.kind === 'text') return decided('differs', 'The text differs.');
  if (old.kind === 'audio') return (await comparedSounds(old, now, isShown)) ?? comparedFiles(old, now);
  if (old.kind === 'video') return comparedVideos(old, now, isShown, videos);
  return comparedFiles(old, now);
}

async function comparedPictures(old: DecodedPicture, now: DecodedPicture, isShown: boolean): Promise<Found> {
  const shown = isShown ? await thumbnails(old, now) : undefined;
  const facts = differentFacts(old, now);
  if (facts.length > 0)
    return { result: 'differs', reasons: [...facts], difference: null, thumbnails: shown };
  const difference = pictureDifference(old, now);
  const result = difference.changedShare === 0 ? 'same' : undefined;
  return { result, reasons: [], difference, thumbnails: shown };
}

/** Undefined where neither can be decoded. */
async function comparedSounds(
  old: LoadedOutput,
  now: LoadedOutput,
  isShown: boolean,
): Promise<Found | undefined> {
  const [mine, theirs] = [await decodeAudio(old.content), await decodeAudio(now.content)];
  if (mine === undefined && theirs === undefined) return undefined;
  if (mine === undefined || theirs === undefined) return decided('differs', broken('sound', mine));
  const facts = [...differentContainers(old, now), ...differentSounds(mine, theirs)];
  if (facts.length > 0) return decided('differs', ...facts);
  const seconds = Math.max(secondsOf(mine), secondsOf(theirs));
  const found = await comparedPictures(spectrogram(mine, seconds), spectrogram(theirs, seconds), isShown);
  // Spectra may be alike where samples are not: that is no distance, but not the same sound either.
  return found.result === 'same' && !areEqualSounds(mine, theirs) ? { ...found, result: undefined } : found;
}

async function comparedVideos(
  old: LoadedOutput,
  now: LoadedOutput,
  isShown: boolean,
  { videoFrames, signal = NEVER }: VideoReading,
): Promise<Found> {
  const containers = differentContainers(old, now);
  if (containers.length > 0) return decided('differs', ...containers);
  if (videoFrames === undefined) return unseenVideos(old, now, 'There is no decoder of videos.');
  const mine = await videoFrames(old.content, signal);
  const theirs = await videoFrames(now.content, signal);
  if (isDecoded(mine) && isDecoded(theirs)) return comparedFrames(mine, theirs, isShown);
  const undecoded = [mine, theirs].filter(isUndecoded);
  const [why] = undecoded.toSorted((a, b) => Number(a.isBroken) - Number(b.isBroken));
  if (undecoded.length === 1 && why?.isBroken === true)
    return decided('differs', broken('video', isDecoded(mine) ? mine : undefined), why.reason);
  return unseenVideos(old, now, why?.reason ?? '');
}

async function comparedFrames(old: DecodedVideo, now: DecodedVideo, isShown: boolean): Promise<Found> {
  const facts = differentVideoFacts(old, now);
  if (facts.length > 0) return decided('differs', ...facts);
  const { difference, shown, reasons, isSame, isSoundUnheard } = videoDifference(old, now);
  const found = { difference, thumbnails: isShown ? await thumbnails(...shown) : undefined };
  if (isSoundUnheard)
    return { ...found, result: 'look', reasons: [...reasons, 'The sound is too long to compare: listen.'] };
  return { ...found, result: isSame ? 'same' : undefined, reasons: [...reasons] };
}

function isDecoded(video: DecodedVideo | UndecodedVideo): video is DecodedVideo {
  return 'frames' in video;
}

function isUndecoded(video: DecodedVideo | UndecodedVideo): video is UndecodedVideo {
  return !isDecoded(video);
}

function unseenVideos(old: LoadedOutput, now: LoadedOutput, why: string): Found {
  const sizes = `${old.bytes} and ${now.bytes} bytes`;
  return decided('look', `The bytes differ (${sizes}), and the frames were not compared: look.`, why);
}

/** Other files: containers are told apart, contents are not looked into. */
function comparedFiles(old: LoadedOutput, now: LoadedOutput): Found {
  const facts = differentContainers(old, now);
  if (facts.length > 0) return decided('differs', ...facts);
  const sizes = `${old.bytes} and ${now.bytes} bytes`;
  return decided(
    'look',
    `The bytes differ (${sizes}); content of this kind is not compared: look or listen.`,
  );
}

function broken(what: string, mine: object | undefined): string {
  return `The ${what} of the ${mine === undefined ? 'old' : 'new'} side cannot be decoded.`;
}

function differentContainers(old: LoadedOutput, now: LoadedOutput): readonly string[] {
  const [mine, theirs] = [containerOf(old.content), containerOf(now.content)];
  return mine === theirs ? [] : [`The container was ${mine ?? 'unknown'} and is ${theirs ?? 'unknown'}.`];
}

function decided(result: ComparedPair['result'], ...reasons: readonly string[]): Found {
  return { result, reasons: [...reasons], difference: null, thumbnails: undefined };
}
