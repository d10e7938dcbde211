import { createHash, randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { createHttpClient } from './http.ts';
import { JobOutput, type OutputDescription, type ReadOptions } from './output.ts';
import { remoteContent, type RemoteContentOptions } from './remote-content.ts';
import { httpStandIn, type ReceivedRequest } from './testing/http-stand-in.ts';

const foreign = createHttpClient();
const here: RemoteContentOptions = { foreign, allowHttp: true };

function outputAt(url: string, changes: Partial<OutputDescription> = {}, remote = here): JobOutput {
  const description = { nodeId: '9', name: 'a.png', kind: 'image', contentType: 'image/png' } as const;
  const known = { size: undefined, sha256: undefined };
  return new JobOutput(
    { ...description, ...known, ...changes },
    remoteContent(remote, { url, name: 'a.png', nodeId: '9' }),
  );
}

/** Serves content by Range and If-Range, and cuts an answer after so many bytes while there are cuts left. */
function serving(
  content: () => Buffer,
  cuts: number[] = [],
  validators: () => Record<string, string> = () => ({}),
) {
  return (request: ReceivedRequest, response: ServerResponse): void => {
    const bytes = content();
    const headers = validators();
    const { range, 'if-range': ifRange } = request.headers;
    const start = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    const isPart =
      range !== undefined && (ifRange === undefined || Object.values(headers).includes(String(ifRange)));
    if (isPart && start >= bytes.length) {
      response.writeHead(416).end();
      return;
    }
    const body = isPart ? bytes.subarray(start) : bytes;
    const contentRange = { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
    response.writeHead(isPart ? 206 : 200, {
      ...headers,
      ...(isPart ? contentRange : {}),
      'content-length': body.length,
    });
    const cut = cuts.shift();
    if (cut === undefined || cut >= body.length) response.end(body);
    else response.write(body.subarray(0, cut), () => setImmediate(() => response.destroy()));
  };
}

describe('a broken download', () => {
  it('goes on where it broke, wherever it breaks, with and without validators and Range', async () => {
    const content = randomBytes(20_000);
    const sha256 = createHash('sha256').update(content).digest('hex');
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(20_000), { maxLength: 3 }),
        fc.constantFrom<Record<string, string>>(
          {},
          { etag: '"v1"' },
          { etag: 'W/"v1"' },
          { 'last-modified': 'Mon, 01 Jan 2024 00:00:00 GMT' },
        ),
        fc.boolean(),
        async (cuts, validators, hasRange) => {
          const serve = serving(
            () => content,
            [...cuts],
            () => validators,
          );
          await using standIn = await httpStandIn((request, response) =>
            serve(hasRange ? request : { ...request, headers: {} }, response),
          );
          expect(await outputAt(standIn.url, { sha256 }).bytes()).toEqual(content);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('asks for the rest of the same version', async () => {
    const content = randomBytes(1_000);
    await using standIn = await httpStandIn(
      serving(
        () => content,
        [400],
        () => ({ etag: '"v1"' }),
      ),
    );
    await outputAt(standIn.url).bytes();
    expect(standIn.received[1]?.headers).toMatchObject({ range: 'bytes=400-', 'if-range': '"v1"' });
  });

  it('is not joined with another version', async () => {
    let version = 0;
    const contents = [randomBytes(1_000), randomBytes(1_000)];
    await using standIn = await httpStandIn((request, response) => {
      const at = Math.min(version++, 1);
      serving(
        () => contents[at]!,
        at === 0 ? [400] : [],
        () => ({ etag: `"v${at}"` }),
      )(request, response);
    });
    await expect(outputAt(standIn.url).bytes()).rejects.toMatchObject({
      code: 'output_truncated',
      nodeId: '9',
    });
  });

  it('is given up when nothing more arrives', async () => {
    await using standIn = await httpStandIn((_request, response) => response.destroy());
    await expect(outputAt(standIn.url).bytes()).rejects.toMatchObject({ code: 'backend_unreachable' });
    expect(standIn.received).toHaveLength(4);
  });

  it('goes on for as long as it brings something worth while', async () => {
    const content = randomBytes(12 * 1024 * 1024);
    const cuts = Array.from({ length: 6 }, () => 1_500_000);
    await using standIn = await httpStandIn(serving(() => content, cuts));
    expect(Buffer.compare(await outputAt(standIn.url).bytes(), content)).toBe(0);
    expect(standIn.received).toHaveLength(7);
  });

  it('with another range than the one that was asked for is not used', async () => {
    const content = Buffer.from('0123456789');
    let asked = 0;
    await using standIn = await httpStandIn((request, response) => {
      asked += 1;
      if (asked === 2) response.writeHead(206, { 'content-range': 'bytes 7-9/10' }).end('789');
      else serving(() => content, asked === 1 ? [4] : [])(request, response);
    });
    expect(Buffer.from(await outputAt(standIn.url).bytes()).toString()).toBe('0123456789');
  });
});

describe('content', () => {
  it('that is not what was announced is refused', async () => {
    await using standIn = await httpStandIn((_request, response) => response.end('other'));
    const expected = { code: 'output_truncated', retryable: true };
    await expect(outputAt(standIn.url, { sha256: 'ab' }).bytes()).rejects.toMatchObject(expected);
    await expect(outputAt(standIn.url, { size: 4 }).bytes()).rejects.toMatchObject(expected);
  });

  it('larger than the caller wants is refused, announced or not', async () => {
    await using standIn = await httpStandIn(serving(() => Buffer.alloc(2_000)));
    const read: ReadOptions = { maximumBytes: 1_999 };
    const expected = { code: 'output_too_large', nodeId: '9' };
    await expect(outputAt(standIn.url).bytes(read)).rejects.toMatchObject(expected);
    await expect(outputAt(standIn.url, { size: 2_000 }).bytes(read)).rejects.toMatchObject(expected);
    expect((await outputAt(standIn.url).bytes({ maximumBytes: 2_000 })).length).toBe(2_000);
  });

  it.each([
    [404, false],
    [403, false],
    [429, true],
    [503, true],
  ])('that is refused with %i is missing, retryable: %s', async (status, retryable) => {
    await using standIn = await httpStandIn((_request, response) => response.writeHead(status).end());
    await expect(outputAt(standIn.url).bytes()).rejects.toMatchObject({ code: 'output_missing', retryable });
    expect(standIn.received).toHaveLength(retryable ? 4 : 1);
  });

  it('of 10 MB flows through within 32 MB', async () => {
    const piece = Buffer.alloc(64 * 1024, 7);
    const pieces = 160;
    await using standIn = await httpStandIn((_request, response) => {
      response.writeHead(200, { 'content-length': piece.length * pieces });
      let sent = 0;
      const more = (): void => {
        while (sent < pieces) {
          sent += 1;
          if (!response.write(piece)) {
            response.once('drain', more);
            return;
          }
        }
        response.end();
      };
      more();
    });
    const used = (): number => {
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    };
    const before = used();
    let most = 0;
    let size = 0;
    for await (const each of outputAt(standIn.url).stream()) {
      size += each.length;
      most = Math.max(most, used() - before);
    }
    expect(size).toBe(10 * 1024 * 1024);
    expect(most).toBeLessThan(32 * 1024 * 1024);
  });
});

describe('an address', () => {
  it('of the backend gets its credentials, and no other does, before and after a redirect', async () => {
    await using bucket = await httpStandIn((_request, response) => response.end('content'));
    await using backend = await httpStandIn((request, response) =>
      request.path === '/away'
        ? response.writeHead(302, { location: `${bucket.url}/signed?x=1` }).end()
        : response.writeHead(307, { location: '/away' }).end(),
    );
    const own = {
      origin: backend.url,
      headers: { authorization: 'Bearer secret' },
      http: createHttpClient(),
    };
    await outputAt(`${backend.url}/file`, {}, { ...here, own }).bytes();
    expect(backend.received.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer secret',
      'Bearer secret',
    ]);
    expect(bucket.received.map(({ headers }) => headers.authorization)).toEqual([undefined]);
    const withPassword = bucket.url.replace('http://', 'http://user:password@');
    await outputAt(withPassword, {}, { ...here, own }).bytes();
    expect(bucket.received.at(-1)?.headers.authorization).toBeUndefined();
    await own.http.close();
  });

  it('that leads in circles is given up', async () => {
    await using standIn = await httpStandIn((_request, response) =>
      response.writeHead(302, { location: '/' }).end(),
    );
    await expect(outputAt(standIn.url).bytes()).rejects.toMatchObject({ code: 'untrusted_url' });
    expect(standIn.received).toHaveLength(6);
  });
});

it.each([
  ['../../etc/passwd', 'passwd'],
  ['C:\\temp\\a.png', 'a.png'],
  ['/', 'output'],
  ['..', 'output'],
  ['a\u0000\n.png', 'a.png'],
  ['Bild (1).png', 'Bild (1).png'],
])('the name %j becomes %j, which may be put behind a folder', (name, expected) => {
  expect(outputAt('http://localhost', { name }).name).toBe(expected);
});
