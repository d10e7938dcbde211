/** Outputs of two jobs with the same inputs, side by side. */
import type { ComparedOutput, ComparedPair } from './comparison.ts';
import { containerOf } from './container.ts';
import { type DecodedPicture, decodePicture } from './decoded-picture.ts';
import { differentFacts, pictureDifference } from './picture-difference.ts';
import { type Thumbnails, thumbnails } from './thumbnails.ts';

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
    } else pairs.push({ ...place, ...(await compared(mine, theirs, against === 'new')) });
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

async function compared(old: LoadedOutput, now: LoadedOutput, isShown: boolean): Promise<Found> {
  if (old.kind !== now.kind) return decided('differs', `The kind was ${old.kind} and is ${now.kind}.`);
  if (old.kind === 'image') {
    const [mine, theirs] = [await decodePicture(old.content), await decodePicture(now.content)];
    if (mine !== undefined && theirs !== undefined) return comparedPictures(mine, theirs, isShown);
    if (mine !== undefined || theirs !== undefined)
      return decided(
        'differs',
        `The picture of the ${mine === undefined ? 'old' : 'new'} side cannot be decoded.`,
      );
  }
  if (old.sha256 === now.sha256) return decided('same');
  if (old.kind === 'text') return decided('differs', 'The text differs.');
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

/** Video, audio and other files: containers are told apart, contents are not looked into. */
function comparedFiles(old: LoadedOutput, now: LoadedOutput): Found {
  const [mine, theirs] = [containerOf(old.content), containerOf(now.content)];
  if (mine !== theirs)
    return decided('differs', `The container was ${mine ?? 'unknown'} and is ${theirs ?? 'unknown'}.`);
  const sizes = `${old.bytes} and ${now.bytes} bytes`;
  return decided(
    'look',
    `The bytes differ (${sizes}); content of this kind is not compared: look or listen.`,
  );
}

function decided(result: ComparedPair['result'], ...reasons: readonly string[]): Found {
  return { result, reasons: [...reasons], difference: null, thumbnails: undefined };
}
