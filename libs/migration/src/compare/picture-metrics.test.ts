import assert from 'node:assert/strict';

import { describe, it } from 'vitest';

import { decodePicture, type GreyPicture, greyOf } from './decoded-picture.ts';
import { hashDistance, perceptualHash } from './perceptual-hash.ts';
import { differentFacts, pictureDifference } from './picture-difference.ts';
import { hills, pictureFile } from './pictures.fixture.ts';
import { structuralSimilarity } from './structural-similarity.ts';
import { thumbnails } from './thumbnails.ts';

const grain = (x: number, y: number): number => (x * 7 + y * 13 + ((x * y) % 31)) % 256;

describe('SSIM', () => {
  // structural_similarity(a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255), scikit-image 0.26.0
  it('is that of scikit-image', () => {
    const a = grey(48, 40, grain);
    const b = grey(48, 40, (x, y) =>
      Math.min(255, Math.floor((grain(x, y) * 3) / 4) + (((x * 5) ^ (y * 3)) % 40)),
    );
    near(structuralSimilarity(a, b), 0.8792538429467378);
    const ramp = grey(48, 40, (x, y) => x * 3 + y * 2);
    const checked = grey(48, 40, (x, y) => x * 3 + y * 2 + ((x + y) % 2) * 6);
    near(structuralSimilarity(ramp, checked), 0.9279447940694725);
  });

  it('is 1 for equal pictures, small ones too, and less for others', () => {
    for (const [width, height] of [
      [40, 30],
      [4, 50],
      [1, 1],
    ] as const) {
      const picture = grey(width, height, grain);
      near(structuralSimilarity(picture, picture), 1);
      assert.ok(
        structuralSimilarity(
          picture,
          grey(width, height, (x, y) => 255 - grain(x, y)),
        ) < 0.9,
      );
    }
  });

  it('refuses pictures of two sizes', () => {
    assert.throws(() => structuralSimilarity(grey(20, 20, grain), grey(20, 21, grain)), RangeError);
  });
});

describe('pHash', () => {
  // imagehash.phash of 32 x 32 pictures, which it does not scale; ImageHash 4.3.2
  it('is that of ImageHash', () => {
    assert.equal(perceptualHash(grey(32, 32, grain)), 'c631c4952ef32f0b');
    const waves = (x: number, y: number): number => Math.trunc(127 + 100 * Math.sin(x / 5) * Math.cos(y / 7));
    assert.equal(perceptualHash(grey(32, 32, waves)), 'bf4848b5cabd40b5');
  });

  it('stays with the size, and tells other pictures apart', () => {
    const waves = (scale: number) => (x: number, y: number) =>
      127 + 100 * Math.sin(x / scale / 5) * Math.cos(y / scale / 7);
    const small = perceptualHash(grey(64, 64, waves(2)));
    const large = perceptualHash(grey(256, 256, waves(8)));
    assert.ok(hashDistance(small, large) <= 4, `${hashDistance(small, large)} bits`);
    assert.ok(hashDistance(small, perceptualHash(grey(64, 64, (x, y) => waves(2)(y * 3, x * 2)))) > 10);
    assert.equal(hashDistance('ffffffffffffffff', '0000000000000000'), 64);
  });

  it('finds no pattern in a flat picture', () => {
    const flat = (level: number): string => perceptualHash(grey(100, 70, () => level));
    assert.equal(hashDistance(flat(13), flat(200)), 0);
  });
});

describe('pictures', () => {
  it('are decoded by their content, whatever their name', async () => {
    for (const format of ['png', 'jpeg', 'webp'] as const) {
      const picture = await decodePicture(await pictureFile(format, 40, 30, hills(1)));
      assert.deepEqual(
        { ...picture, data: picture?.data.length },
        { format, width: 40, height: 30, frames: 1, data: 40 * 30 * 4 },
      );
    }
  });

  it('are none where the file is broken or something else', async () => {
    const whole = await pictureFile('png', 40, 30, hills(1));
    assert.equal(await decodePicture(whole.subarray(0, whole.length / 2)), undefined);
    assert.equal(await decodePicture(Buffer.from('no picture')), undefined);
    assert.equal(await decodePicture(new Uint8Array()), undefined);
  });

  it('are equal when only the file is another', async () => {
    const a = await decoded(await pictureFile('png', 40, 30, hills(1)));
    const b = await decoded(Buffer.concat([await pictureFile('png', 40, 30, hills(1)), Buffer.from('more')]));
    assert.deepEqual(pictureDifference(a, b), {
      ...{ ssimLoss: 0, hashBits: 0, meanDifference: 0 },
      ...{ changedShare: 0, largest: 0 },
    });
  });

  it('differ by a tint that grey does not show', async () => {
    const [a, b] = [await flat([100, 100, 100]), await flat([150, 75, 97])];
    const difference = pictureDifference(a, b);
    assert.ok(difference.ssimLoss < 0.01 && difference.hashBits === 0);
    assert.ok(difference.meanDifference > 15 && difference.largest === 50 && difference.changedShare === 1);
  });

  it('name the facts that are not alike', async () => {
    const a = await decoded(await pictureFile('png', 40, 30, hills(1)));
    const b = await decoded(await pictureFile('jpeg', 41, 30, hills(1)));
    assert.deepEqual(differentFacts(a, b), [
      'The format was png and is jpeg.',
      'The size was 40 x 30 and is 41 x 30 pixels.',
    ]);
  });

  it('show one wrong pixel of many in the small copy', async () => {
    const a = await decoded(await pictureFile('png', 900, 600, () => [0, 0, 0]));
    const b = await decoded(
      await pictureFile('png', 900, 600, (x, y) => [x === 700 && y === 300 ? 40 : 0, 0, 0]),
    );
    const { difference } = await thumbnails(a, b);
    const small = await decoded(Buffer.from(difference ?? '', 'base64'));
    assert.deepEqual([small.width, small.height, small.format], [480, 320, 'webp']);
    assert.ok(greyOf(small).data.some((level) => level > 40));
  });
});

function grey(width: number, height: number, level: (x: number, y: number) => number): GreyPicture {
  const data = Float64Array.from({ length: width * height }, (_, at) =>
    level(at % width, Math.floor(at / width)),
  );
  return { width, height, data };
}

async function flat(colour: readonly [number, number, number]): ReturnType<typeof decoded> {
  return decoded(await pictureFile('png', 32, 32, () => colour));
}

async function decoded(file: Uint8Array): Promise<NonNullable<Awaited<ReturnType<typeof decodePicture>>>> {
  const picture = await decodePicture(file);
  assert.ok(picture !== undefined);
  return picture;
}

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 1e-9, `${actual} is not ${expected}`);
}
