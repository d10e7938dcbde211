import assert from 'node:assert/strict';

import { describe, expect, it } from 'vitest';

import type { DecodedAudio } from './decoded-audio.ts';
import type { DecodedVideo, UndecodedVideo, VideoDecoder } from './decoded-video.ts';
import { judgePair, type Limits } from './noise-floor.ts';
import { type LoadedOutput, pairOutputs, type UnjudgedPair } from './pair-outputs.ts';
import { hills, type Paint } from './pictures.fixture.ts';

const [WIDTH, HEIGHT] = [48, 32];
const NOTHING: Limits = { ssimLoss: 0, hashBits: 0, meanDifference: 0 };

describe('a pair of videos', () => {
  it('of equal bytes is the same, and is not decoded', async () => {
    const decoder: VideoDecoder = () => Promise.reject(new Error('decoded'));
    assert.equal((await pairOf(video(), video(), { decoder, isSameFile: true })).result, 'same');
  });

  it('of which all frames and samples were compared and are equal is the same', async () => {
    const whole = video({ frameCount: 4, width: WIDTH, height: HEIGHT, sound: tone(440), hasAudio: true });
    expect(await pairOf(whole, whole)).toMatchObject({
      result: 'same',
      reasons: ['All 4 sampled frames are equal.'],
    });
  });

  it('of which a sample is equal is within the noise, and says that it was a sample', async () => {
    const pair = await pairOf(video(), video());
    assert.equal(pair.result, undefined);
    expect(judged(pair)).toMatchObject({
      result: 'within-noise',
      reasons: ['All 4 sampled frames are equal.'],
    });
  });

  it('is as far as its worst frame, which is shown', async () => {
    const other = video({ frames: [1, 1, 9, 1] });
    const one = await pairOf(video(), other);
    const all = await pairOf(video(), video({ frames: [9, 9, 9, 9] }));
    assert.deepEqual(one.difference, all.difference);
    assert.ok((one.difference?.ssimLoss ?? 0) > 0.05);
    assert.ok(one.thumbnails !== undefined);
    const { result, reasons } = judged(one);
    assert.equal(result, 'differs');
    assert.equal(reasons[0], '1 of 4 sampled frames differ, most the one at 1.00 s.');
    assert.match(reasons[1] ?? '', /^Its SSIM loss is/);
  });

  it('is judged by its sound too', async () => {
    const of = (sound: DecodedAudio | undefined): DecodedVideo => video({ hasAudio: true, sound });
    const other = judged(await pairOf(of(tone(440)), of(tone(2_000))));
    assert.equal(other.result, 'differs');
    expect(other.reasons).toContain('The samples of the sound differ.');
    expect(other.reasons).toContain('All 4 sampled frames are equal.');
    const longer = await pairOf(of(tone(440)), of(tone(440, 2)));
    expect(longer).toMatchObject({
      result: 'differs',
      reasons: ['Sound track: It lasted 1.00 s and lasts 2.00 s.'],
    });
    const unheard = await pairOf(of(undefined), of(undefined));
    assert.equal(unheard.result, 'look');
    expect(unheard.reasons).toContain('The sound is too long to compare: listen.');
  });

  it.each<[string, Partial<Facts>, string]>([
    ['codec', { codec: 'vp9' }, 'The codec was h264 and is vp9.'],
    ['size', { width: 640 }, 'The size was 1280 x 720 and is 640 x 720 pixels.'],
    ['rate', { frameRate: 25 }, 'It had 24 frames a second and has 25.'],
    ['number of frames', { frameCount: 47 }, 'It had 48 frames and has 47.'],
    ['length', { seconds: 2.05 }, 'It lasted 2.00 s and lasts 2.05 s.'],
    ['sound track', { hasAudio: true }, 'It had no sound and has sound.'],
  ])('of another %s differs', async (_, facts, reason) => {
    expect(await pairOf(video(), video(facts))).toMatchObject({ result: 'differs', reasons: [reason] });
  });

  it('may differ in length by less than a frame', async () => {
    assert.equal((await pairOf(video(), video({ seconds: 2.03 }))).result, undefined);
  });
});

describe('a pair of videos that is not decoded', () => {
  const broken: UndecodedVideo = { isBroken: true, reason: 'It cannot be decoded: Invalid data.' };
  const missing: UndecodedVideo = { isBroken: false, reason: 'There is no Python.' };

  it('differs where one side is broken', async () => {
    expect(await pairOf(video(), broken)).toMatchObject({
      result: 'differs',
      reasons: ['The video of the new side cannot be decoded.', broken.reason],
    });
    expect((await pairOf(broken, video())).reasons[0]).toBe('The video of the old side cannot be decoded.');
  });

  it.each([
    ['without a decoder', undefined, undefined, 'There is no decoder of videos.'],
    ['where the decoder cannot run', missing, missing, missing.reason],
    ['where it gave up on one side', video(), missing, missing.reason],
    ['where one side is broken and it gave up on the other', broken, missing, missing.reason],
    ['where both are broken', broken, broken, broken.reason],
  ])('is for a person %s, who is told why', async (_, old, now, reason) => {
    const { result, reasons } = await pairOf(old, now);
    assert.equal(result, 'look');
    assert.equal(reasons.at(-1), reason);
  });

  it('is none where the comparison was aborted', async () => {
    const stop = new AbortController();
    const decoder: VideoDecoder = (_, signal) => {
      stop.abort(new Error('enough'));
      signal.throwIfAborted();
      return Promise.resolve(video());
    };
    await expect(pairOf(video(), video(), { decoder, signal: stop.signal })).rejects.toThrow('enough');
  });
});

type Facts = Omit<DecodedVideo, 'frames'> & { readonly frames: readonly number[] };

/** Two seconds of 720p, of which four frames of hills were sampled; `frames` are their seeds. */
function video({ frames = [1, 1, 1, 1], ...facts }: Partial<Facts> = {}): DecodedVideo {
  return {
    ...{ codec: 'h264', width: 1280, height: 720, seconds: 2, frameRate: 24, frameCount: 48 },
    ...{ hasAudio: false, frameWidth: WIDTH, frameHeight: HEIGHT, sound: undefined },
    ...facts,
    frames: frames.map((seed, index) => ({ seconds: index / 2, data: rgba(hills(seed)) })),
  };
}

function rgba(paint: Paint): Uint8Array {
  const data = new Uint8Array(WIDTH * HEIGHT * 4);
  for (let at = 0; at < WIDTH * HEIGHT; at += 1)
    data.set([...paint(at % WIDTH, Math.floor(at / WIDTH)), 255], at * 4);
  return data;
}

function tone(hertz: number, seconds = 1): DecodedAudio {
  const samples = Float32Array.from({ length: 16_000 * seconds }, (_, n) =>
    Math.sin((2 * Math.PI * hertz * n) / 16_000),
  );
  return { sampleRate: 16_000, channels: [samples] };
}

/** Compares two files of which the scripted decoder reads these; without both there is no decoder. */
async function pairOf(
  old: DecodedVideo | UndecodedVideo | undefined,
  now: DecodedVideo | UndecodedVideo | undefined,
  options: { decoder?: VideoDecoder; isSameFile?: boolean; signal?: AbortSignal } = {},
): Promise<UnjudgedPair> {
  const output = (end: string): LoadedOutput => {
    const content = Buffer.from(`\0\0\0\x18ftypisom${end}`);
    const file = { bytes: content.length, content, sha256: end };
    return { node: '9', name: 'a.mp4', kind: 'video', contentType: 'video/mp4', ...file };
  };
  const { decoder = old === undefined || now === undefined ? undefined : scripted(old, now), signal } =
    options;
  const [pair] = await pairOutputs(
    0,
    'new',
    [output('old')],
    [output(options.isSameFile === true ? 'old' : 'new')],
    {
      ...(decoder === undefined ? {} : { videoFrames: decoder }),
      ...(signal === undefined ? {} : { signal }),
    },
  );
  assert.ok(pair !== undefined);
  return pair;
}

function scripted(old: DecodedVideo | UndecodedVideo, now: DecodedVideo | UndecodedVideo): VideoDecoder {
  return (bytes) => Promise.resolve(Buffer.from(bytes).toString().endsWith('old') ? old : now);
}

function judged(pair: UnjudgedPair): ReturnType<typeof judgePair> {
  return judgePair(pair, NOTHING, { determinism: 'exact', hasOneCard: true, rounding: NOTHING });
}
