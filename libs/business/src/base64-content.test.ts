import fc from 'fast-check';
import { expect, it } from 'vitest';

import { base64Content } from './base64-content.ts';

const { signal } = new AbortController();

async function decoded(text: string, offset = 0): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(base64Content(text, 'a.png')({ signal, offset })));
}

it('decodes any bytes from any offset, as base64 and as a data URI', async () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 500_000, size: 'max' });
  await fc.assert(
    fc.asyncProperty(
      bytes,
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.boolean(),
      async (array, at, isUri) => {
        const content = Buffer.from(array);
        const offset = Math.floor(at * content.length);
        const text = (isUri ? 'data:image/png;base64,' : '') + content.toString('base64');
        expect((await decoded(text, offset)).equals(content.subarray(offset))).toBe(true);
      },
    ),
    { numRuns: 25 },
  );
});

it.each(['QUJ!RA==', 'QUJDR', 'QUJD<html>'])('refuses %s', async (text) => {
  await expect(decoded(text)).rejects.toMatchObject({ code: 'output_truncated' });
});
