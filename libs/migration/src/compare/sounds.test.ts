import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';

import fc from 'fast-check';
import { describe, it } from 'vitest';

import { decodeAudio, secondsOf } from './decoded-audio.ts';
import { type LoadedOutput, pairOutputs, type UnjudgedPair } from './pair-outputs.ts';
import { hills, pictureFile } from './pictures.fixture.ts';
import { wavFile } from './sounds.fixture.ts';
import { BANDS, powerSpectrum, spectrogram, WINDOW } from './spectrogram.ts';

const FILES = path.resolve(import.meta.dirname, '../../fixtures/sounds');

describe('a spectrum', () => {
  it('has the power of a sine of full scale at its frequency, and nothing far from it', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 3, max: WINDOW / 2 - 3 }),
        fc.double({ min: 0, max: 6, noNaN: true }),
        (bin, phase) => {
          const sine = Float32Array.from({ length: WINDOW }, (_, n) =>
            Math.sin((2 * Math.PI * bin * n) / WINDOW + phase),
          );
          const power = powerSpectrum(sine, 0);
          assert.ok(Math.abs((power[bin] ?? 0) - 1) < 1e-6, `${power[bin]}`);
          power.forEach((value, at) => assert.ok(Math.abs(at - bin) < 2 || value < 1e-9, `${at}: ${value}`));
        },
      ),
      { numRuns: 30 },
    );
  });

  it('is that of the definition, sum by sum', () => {
    const noise = Float32Array.from({ length: WINDOW }, (_, n) => Math.sin(n * n));
    const power = powerSpectrum(noise, 0);
    for (const bin of [0, 1, 511, 1_024]) {
      let [real, imaginary] = [0, 0];
      noise.forEach((sample, n) => {
        const weight = 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / WINDOW);
        real += weight * sample * Math.cos((2 * Math.PI * bin * n) / WINDOW);
        imaginary -= weight * sample * Math.sin((2 * Math.PI * bin * n) / WINDOW);
      });
      const wanted = (real ** 2 + imaginary ** 2) * (4 / WINDOW) ** 2;
      assert.ok(Math.abs((power[bin] ?? 0) - wanted) < 1e-9 * (1 + wanted));
    }
  });

  it('is brightest where the sound is, in every column', async () => {
    const sound = await decodeAudio(wavFile([1_000], 1));
    assert.ok(sound !== undefined);
    const { width, height, data } = spectrogram(sound, 1);
    assert.equal(height, BANDS);
    for (let column = 0; column < width; column += 1) {
      const greys = Array.from({ length: BANDS }, (_, row) => data[(row * width + column) * 4] ?? 0);
      const band = BANDS - 1 - greys.indexOf(Math.max(...greys));
      // 1,000 of 2,840 mels, of 8 kHz.
      assert.ok(Math.abs(band - (1_000 / 2_840) * BANDS) <= 1, `${band}`);
    }
  });
});

describe('sound files', () => {
  it.each(['tone.flac', 'tone.mp3', 'tone-vorbis.ogg', 'tone-opus.ogg'])('%s is decoded', async (name) => {
    const sound = await decodeAudio(await readFile(path.join(FILES, name)));
    assert.ok(sound !== undefined);
    assert.ok(Math.abs(secondsOf(sound) - 0.25) < 0.15, `${secondsOf(sound)} s`);
    const power = powerSpectrum(sound.channels[0] ?? new Float32Array(), Math.round(sound.sampleRate * 0.08));
    const loudest = power.indexOf(Math.max(...power));
    assert.ok(Math.abs((loudest * sound.sampleRate) / WINDOW - 1_000) < 30);
  });

  it('that are none are not', async () => {
    assert.equal(await decodeAudio(Buffer.from('no sound at all')), undefined);
    assert.equal(await decodeAudio(Buffer.alloc(0)), undefined);
  });
});

describe('a pair of outputs', () => {
  it('of equal samples is the same, whatever else the file holds', async () => {
    const sound = wavFile([440, 880]);
    const other = Buffer.concat([sound, Buffer.from('LIST\0\0\0\0')]);
    assert.equal((await pairOf(sound, other)).result, 'same');
  });

  it('of sounds that differ a little is nearer than of others, by the same distances as pictures', async () => {
    const base = wavFile([440, 880]);
    const [quieter, another] = [
      await pairOf(base, wavFile([440, 880], 0.5, 0.49)),
      await pairOf(base, wavFile([523])),
    ];
    assert.equal(quieter.result, undefined);
    assert.ok((quieter.difference?.ssimLoss ?? 1) < 0.01);
    assert.ok((another.difference?.ssimLoss ?? 0) > 0.05);
    assert.ok(another.thumbnails !== undefined);
  });

  it.each([
    ['length', wavFile([440], 0.7), /lasted 0.50 s and lasts 0.70 s/],
    ['container', Buffer.from('fLaC and nothing'), /cannot be decoded/],
  ])('of another %s differs', async (_, now, expected) => {
    const { result, reasons } = await pairOf(wavFile([440]), now);
    assert.equal(result, 'differs');
    assert.match(reasons.join(' '), expected);
  });

  it('of animated pictures that are called videos is compared by their frames', async () => {
    const [one, two] = [
      await pictureFile('webp', 64, 48, hills(1)),
      await pictureFile('webp', 64, 48, hills(2)),
    ];
    assert.equal((await pairOf(one, one, 'video')).result, 'same');
    assert.ok((await pairOf(one, two, 'video')).difference !== null);
  });

  it('of sound that nobody can decode is for a person, as is MP4', async () => {
    const file = (end: string): Buffer => Buffer.from(`\0\0\0\x18ftypisom${end}`);
    assert.equal((await pairOf(file('a'), file('b'), 'audio')).result, 'look');
    assert.equal((await pairOf(file('a'), file('b'), 'video')).result, 'look');
  });
});

async function pairOf(
  old: Uint8Array,
  now: Uint8Array,
  kind: LoadedOutput['kind'] = 'audio',
): Promise<UnjudgedPair> {
  const output = (content: Uint8Array): LoadedOutput => ({
    ...{ node: '9', name: 'a', kind, contentType: '', bytes: content.length, content },
    sha256: Buffer.from(content).toString('base64'),
  });
  const [pair] = await pairOutputs(0, 'new', [output(old)], [output(now)]);
  assert.ok(pair !== undefined);
  return pair;
}
