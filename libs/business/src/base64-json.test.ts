import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { Base64JsonReader } from './base64-json.ts';
import { createHttpClient } from './http.ts';
import { runpod } from './adapters/runpod.ts';
import { httpStandIn } from './testing/http-stand-in.ts';

const signal = AbortSignal.timeout(120_000);

/** Reads a text that arrives cut at the given places. */
function read(text: string, cuts: readonly number[], longString?: number) {
  const bytes = Buffer.from(text);
  const at = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  const reader = new Base64JsonReader(longString);
  for (const [index, end] of at.slice(1).entries()) reader.push(bytes.subarray(at[index], end));
  return reader.end();
}

describe('JSON with base64', () => {
  it('is what JSON.parse makes of it, whatever it holds and however it is cut', () => {
    fc.assert(
      fc.property(fc.json({ stringUnit: 'binary' }), fc.array(fc.nat(), { maxLength: 8 }), (text, cuts) => {
        expect(read(text, cuts)).toMatchObject({ value: JSON.parse(text) as unknown });
      }),
    );
  });

  it('gives the bytes of its strings from any offset, decoded early or not', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        fc.integer({ min: 16, max: 300 }),
        fc.nat(300),
        fc.boolean(),
        async (contents, cuts, longString, offset, isUri) => {
          const data = contents.map(
            (bytes) => (isUri ? 'data:image/png;base64,' : '') + Buffer.from(bytes).toString('base64'),
          );
          const document = JSON.stringify({ before: 'é"\\', data, after: ['\\', 1, null] });
          const { value, content } = read(document, cuts, longString);
          const found = value as { before: string; data: string[]; after: unknown };
          expect(found.before).toBe('é"\\');
          expect(found.after).toEqual(['\\', 1, null]);
          for (const [index, bytes] of contents.entries()) {
            const pieces = await Array.fromAsync(content(found.data[index]!, 'a')({ signal, offset }));
            expect(Buffer.concat(pieces).equals(Buffer.from(bytes.subarray(offset)))).toBe(true);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('leaves long strings alone that are no base64', () => {
    for (const text of [
      'ä'.repeat(200),
      'a b '.repeat(100),
      'line\n'.repeat(100),
      'data:no comma'.repeat(50),
    ])
      expect(read(JSON.stringify([text]), [50, 120], 64).value).toEqual([text]);
  });

  it.each(['QUJD'.repeat(40) + '!', 'QUJD'.repeat(40) + 'Q', 'QUJD'.repeat(40) + '=QUJ' + 'QUJD'.repeat(40)])(
    'refuses damaged content, but only when it is read: %s',
    async (text) => {
      const { value, content } = read(JSON.stringify({ text }), [100], 64);
      const reading = Array.fromAsync(content((value as { text: string }).text, 'a')({ signal, offset: 0 }));
      await expect(reading).rejects.toMatchObject({ code: 'output_truncated' });
    },
  );

  it.each(['{"a":"', '{"a":"QUJDQUJDQUJDQUJD', '', '{"a":1', '"\\'])(
    'that is cut, as %j, is no JSON',
    (text) => {
      expect(() => read(text, [], 4)).toThrow(SyntaxError);
    },
  );
});

it('a picture of 10 MB in an answer of RunPod needs 32 MB at most beside what its bytes need on their way', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const used = (): number => {
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const data = Buffer.alloc(10 * 1024 * 1024, 7).toString('base64');
  const answer = Buffer.from(
    `{"id":"r","status":"COMPLETED","output":{"images":[{"filename":"a.png","type":"base64","data":"${data}"}]}}`,
  );
  await using standIn = await httpStandIn((_request, response) => response.end(answer));
  const adapter = runpod({ apiUrl: standIn.url, endpointId: 'e', apiKey: 'k' });
  const http = createHttpClient();

  /** Most bytes in use while pieces arrive, and after each. */
  async function most(pieces: () => AsyncIterable<unknown>): Promise<number> {
    collect();
    const before = used();
    let found = 0;
    for await (const _ of pieces()) found = Math.max(found, used() - before);
    return found;
  }
  const raw = (): Promise<number> =>
    most(async function* () {
      yield* (await http.send({ method: 'GET', url: new URL(standIn.url), signal })).body;
    });
  const ours = (): Promise<number> =>
    most(async function* () {
      const [output] = (await adapter.status({ id: 'r' }, { signal })).outputs;
      yield;
      yield* output!.stream();
    });
  await raw();
  const [needed, all] = [await raw(), await ours()];
  expect(all - needed).toBeLessThan(32 * 1024 * 1024);
  await Promise.all([adapter.close(), http.close()]);
});
