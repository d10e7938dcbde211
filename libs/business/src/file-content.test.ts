import { createHash } from 'node:crypto';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';

import type { FileInput } from '@ryla/workflow';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { AssetCache } from './asset-cache.ts';
import { bytesOf, contentOf } from './file-content.ts';
import { createHttpClient } from './http.ts';
import { multipart } from './multipart.ts';
import { fetchForeign } from './remote-content.ts';
import { httpStandIn } from './testing/http-stand-in.ts';

const signal = AbortSignal.timeout(120_000);
const foreign = createHttpClient();
const fetch = fetchForeign({ foreign, allowHttp: true });
const options = { signal, maximumBytes: 32 * 1024 * 1024, fetch };
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Bytes that differ everywhere. */
function noise(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => (index * 31 + (index >> 8)) & 255);
}

async function* inPieces(bytes: Uint8Array, size = 100_000): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe('a file', () => {
  const sizes = [0, 10, 5 * 1024 * 1024];
  const sources: Readonly<
    Record<string, (bytes: Uint8Array, folder: string) => FileInput | Promise<FileInput>>
  > = {
    bytes: (bytes) => ({ name: 'a', bytes }),
    path: async (bytes, folder) => {
      await writeFile(path.join(folder, 'a'), bytes);
      return { path: path.join(folder, 'a') };
    },
    'async iterable': (bytes) => ({ name: 'a', stream: inPieces(bytes) }),
    'Node stream': (bytes) => ({ name: 'a', stream: Readable.from(inPieces(bytes)) }),
    'web stream': (bytes) => ({ name: 'a', stream: ReadableStream.from(inPieces(bytes)) }),
  };
  it.each(Object.keys(sources).flatMap((kind) => sizes.map((size) => [kind, size] as const)))(
    'given as %s of %i bytes is read as often as it is needed',
    async (kind, size) => {
      const folder = await mkdtemp(path.join(tmpdir(), 'content-'));
      try {
        const bytes = noise(size);
        const source = await sources[kind]!(bytes, folder);
        const content = await contentOf(source, options);
        expect(content).toMatchObject({ size, sha256: sha256(bytes) });
        for (let time = 0; time < 2; time += 1)
          expect(Buffer.compare(await bytesOf(content, signal), bytes)).toBe(0);
        expect((await contentOf(source, options)).sha256).toBe(content.sha256);
      } finally {
        await rm(folder, { recursive: true });
      }
    },
  );

  it('given as a stream leaves no file behind', async () => {
    const names = async (): Promise<string[]> =>
      (await readdir(tmpdir())).filter((name) => name.startsWith('ryla-input-'));
    const before = await names();
    const content = await contentOf({ name: 'a', stream: inPieces(noise(6 * 1024 * 1024)) }, options);
    expect(await names()).toEqual(before);
    expect((await bytesOf(content, signal)).length).toBe(6 * 1024 * 1024);
  });

  it('given by address is fetched once', async () => {
    const bytes = noise(1_000);
    await using standIn = await httpStandIn((_request, response) => response.end(bytes));
    const source = { url: `${standIn.url}/a.png` };
    const contents = await Promise.all([contentOf(source, options), contentOf(source, options)]);
    expect(contents.map((content) => content.sha256)).toEqual([sha256(bytes), sha256(bytes)]);
    expect(standIn.received).toHaveLength(1);
  });

  it('given by address is fetched from public hosts over https only, redirects included', async () => {
    await using secret = await httpStandIn((_request, response) => response.end('secret'));
    const guarded = createHttpClient({ network: 'public' });
    const strict = { ...options, fetch: fetchForeign({ foreign: guarded, allowHttp: false }) };
    for (const url of [
      `${secret.url}/`,
      secret.url.replace('http:', 'https:'),
      'file:///etc/passwd',
      'data:,x',
      'no',
    ])
      await expect(contentOf({ url }, strict), url).rejects.toMatchObject({
        code: 'untrusted_url',
        accepted: 'no',
      });
    await using open = await httpStandIn((_request, response) =>
      response.writeHead(302, { location: 'ftp://example.org/' }).end(),
    );
    await expect(contentOf({ url: open.url }, options)).rejects.toMatchObject({ code: 'untrusted_url' });
    expect(secret.received).toEqual([]);
    await guarded.close();
  });

  it('given by an address that refuses is an input error, to be tried again when the server failed', async () => {
    let status = 500;
    await using standIn = await httpStandIn((_request, response) => response.writeHead(status).end());
    const source = { url: standIn.url };
    const expected = { code: 'invalid_input_file', accepted: 'no' };
    await expect(contentOf(source, options)).rejects.toMatchObject({ ...expected, retryable: true });
    status = 404;
    await expect(contentOf(source, options)).rejects.toMatchObject({ ...expected, retryable: false });
  });

  it('over the limit is refused without reading all of it', async () => {
    let given = 0;
    const endless = (async function* () {
      for (;;) {
        await Promise.resolve();
        given += 1_000;
        yield new Uint8Array(1_000);
      }
    })();
    const refused = { code: 'payload_too_large', accepted: 'no' };
    const limited = { ...options, maximumBytes: 10_000 };
    await expect(contentOf({ name: 'a', stream: endless }, limited)).rejects.toMatchObject(refused);
    expect(given).toBeLessThan(20_000);
    await expect(contentOf({ name: 'a', bytes: noise(10_001) }, limited)).rejects.toMatchObject(refused);
  });

  it.each([{ path: '/no/such/file' }, { path: tmpdir() }])(
    'at %j that cannot be read says so',
    async (source) => {
      await expect(contentOf(source, options)).rejects.toMatchObject({
        code: 'invalid_input_file',
        accepted: 'no',
      });
    },
  );

  it('as a stream that breaks says so', async () => {
    const stream = (async function* () {
      yield await Promise.resolve(new Uint8Array(3));
      throw new Error('cable');
    })();
    const source = { name: 'a', stream };
    for (let time = 0; time < 2; time += 1)
      await expect(contentOf(source, options)).rejects.toMatchObject({ code: 'invalid_input_file' });
  });

  it('is hashed once for the service and its adapter, and again when the file has changed', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'content-'));
    try {
      const source = { path: path.join(folder, 'a') };
      await writeFile(source.path, 'before');
      // A file that was just written may change once more at the same time, as its file system counts time.
      await expect
        .poll(async () => (await contentOf(source, options)) === (await contentOf(source, options)))
        .toBe(true);
      const before = await contentOf(source, options);
      await writeFile(source.path, 'after!');
      const after = await contentOf(source, options);
      expect(after.sha256).toBe(createHash('sha256').update('after!').digest('hex'));
      expect(after.sha256).not.toBe(before.sha256);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('that shrinks while it is sent is an error, and not a short upload', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'content-'));
    try {
      const file = path.join(folder, 'a');
      await writeFile(file, noise(1_000));
      const content = await contentOf({ path: file }, options);
      await writeFile(file, noise(10));
      await expect(bytesOf(content, signal)).rejects.toMatchObject({ code: 'invalid_input_file' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('multipart bodies', () => {
  it('are as long as they say and are read by another implementation, whatever they hold', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 500 }),
        fc.string({
          unit: fc.constantFrom('"', '\\', '\r', '\n', ';', '=', 'é', 'a'),
          minLength: 1,
          maxLength: 20,
        }),
        fc.string({ maxLength: 20 }),
        async (bytes, filename, value) => {
          const content = await contentOf({ name: 'a', bytes }, options);
          const file = { field: 'image', filename, contentType: 'image/png', content };
          const { headers, body } = multipart({ type: value }, file, signal);
          const whole = Buffer.concat(await Array.fromAsync(body));
          expect(whole.length).toBe(Number(headers['content-length']));
          // Only to have another implementation read it.
          // eslint-disable-next-line @typescript-eslint/no-deprecated
          const form = await new Response(whole, { headers }).formData();
          const received = form.get('image');
          if (!(received instanceof File)) throw new Error('no file');
          expect(received.name).toBe(filename);
          expect(Buffer.compare(Buffer.from(await received.arrayBuffer()), bytes)).toBe(0);
          expect(form.get('type')).toBe(value);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('uploads', () => {
  it('of one content at once are one, and the others go on when it fails', async () => {
    const cache = new AssetCache<string>(() => 0);
    let uploads = 0;
    const first = Promise.withResolvers<undefined>();
    const failing = cache.get(
      'k',
      () => first.promise.then(() => Promise.reject(new Error('reset'))),
      signal,
    );
    const others = [1, 2, 3].map(() =>
      cache.get('k', () => Promise.resolve({ ref: `r${(uploads += 1)}`, expiresAt: undefined }), signal),
    );
    first.resolve(undefined);
    await expect(failing).rejects.toThrow('reset');
    expect((await Promise.all(others)).map(({ ref }) => ref)).toEqual(['r1', 'r1', 'r1']);
    expect(uploads).toBe(1);
  });

  it('are repeated before the backend forgets them, and when it has', async () => {
    let now = 0;
    const cache = new AssetCache<number>(() => now);
    let uploads = 0;
    const upload = () => Promise.resolve({ ref: (uploads += 1), expiresAt: now + 24 * 3_600_000 });
    const ref = async (): Promise<number> => (await cache.get('k', upload, signal)).ref;
    expect([await ref(), await ref()]).toEqual([1, 1]);
    now = 23.5 * 3_600_000;
    expect(await ref()).toBe(2);
    cache.forget('k');
    expect(await ref()).toBe(3);
  });

  it('do not keep a caller who gives up', async () => {
    const cache = new AssetCache<number>(() => 0);
    const stop = new AbortController();
    void cache.get('k', () => new Promise(() => undefined), signal);
    const waiting = cache.get('k', () => Promise.resolve({ ref: 1, expiresAt: undefined }), stop.signal);
    stop.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });
});
