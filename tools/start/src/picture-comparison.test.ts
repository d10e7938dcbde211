import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { PNG } from 'pngjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { samePictures } from './picture-comparison.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'pictures-'));
});
afterEach(() => rm(folder, { recursive: true }));

async function picture(name: string, red: number, deflateLevel: number): Promise<string> {
  const png = new PNG({ width: 4, height: 3, deflateLevel });
  png.data.fill(255);
  png.data[0] = red;
  const file = path.join(folder, name);
  await writeFile(file, PNG.sync.write(png, { deflateLevel }));
  return file;
}

describe('samePictures', () => {
  it('compares pixels, not files', async () => {
    const packed = await picture('packed.png', 7, 9);
    const plain = await picture('plain.png', 7, 0);
    expect(await samePictures([[packed], [plain]])).toBe(true);
  });

  it('sees one different sample', async () => {
    expect(await samePictures([[await picture('a.png', 7, 9)], [await picture('b.png', 8, 9)]])).toBe(false);
  });

  it('sees a missing picture', async () => {
    expect(await samePictures([[await picture('a.png', 7, 9)], []])).toBe(false);
  });

  it('has nothing to say about one list', async () => {
    expect(await samePictures([[await picture('a.png', 7, 9)]])).toBeNull();
  });

  it('compares files that are no PNG by their bytes', async () => {
    const [a, b] = [path.join(folder, 'a.txt'), path.join(folder, 'b.txt')];
    await writeFile(a, 'same');
    await writeFile(b, 'same');
    expect(await samePictures([[a], [b]])).toBe(true);
  });
});
