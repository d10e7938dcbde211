import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';

import { afterEach, describe, expect, it } from 'vitest';

import { createHttpClient, type HttpResponse, readText } from './http.ts';
import { httpStandIn } from './testing/index.ts';

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const NEVER = new AbortController().signal;

/** The answer to a GET, and the server's side of it. */
async function answered(
  respond: (response: ServerResponse) => void,
  signal = NEVER,
): Promise<{ readonly response: HttpResponse; readonly server: ServerResponse }> {
  const served = Promise.withResolvers<ServerResponse>();
  const standIn = await httpStandIn((_request, response) => {
    served.resolve(response);
    respond(response);
  });
  const http = createHttpClient();
  cleanups.push(
    async () => standIn[Symbol.asyncDispose](),
    () => http.close(),
  );
  const response = await http.send({ method: 'GET', url: new URL(standIn.url), signal });
  return { response, server: await served.promise };
}

async function collected(pieces: AsyncIterable<Buffer>): Promise<string> {
  const found: Buffer[] = [];
  for await (const piece of pieces) found.push(piece);
  return Buffer.concat(found).toString();
}

describe('the body of an answer', () => {
  it('is given piece by piece, and whole', async () => {
    const { response } = await answered((server) => {
      server.write('a');
      setImmediate(() => server.end('b'));
    });
    expect(await collected(response.body)).toBe('ab');
    const again = await answered((server) => server.end('é'));
    expect(await readText(again.response)).toBe('é');
  });

  it('makes the server wait for a reader that takes its time, and is whole all the same', async () => {
    const piece = Buffer.alloc(64 * 1024, 1);
    const pieces = 512;
    let sent = 0;
    const { response } = await answered((server) => {
      const source = Readable.from(
        (function* () {
          for (; sent < pieces; sent += 1) yield piece;
        })(),
      );
      source.pipe(server);
    });
    const reader = response.body[Symbol.asyncIterator]();
    let size = (await reader.next()).value?.length ?? 0;
    // 32 MiB never fit between the two: the kernel takes some, the body 256 KiB. The server stops by itself.
    for (let before = -1; before !== sent;) {
      before = sent;
      await setTimeout(50);
    }
    expect(sent).toBeLessThan(pieces);
    for (let next = await reader.next(); next.done !== true; next = await reader.next())
      size += next.value.length;
    expect(size).toBe(pieces * piece.length);
  });

  it('gives all that came before it was cut short', async () => {
    const { response } = await answered((server) => {
      server.writeHead(200, { 'content-length': 10 });
      server.write('abc', () => server.destroy());
    });
    const found: string[] = [];
    await expect(
      (async () => {
        for await (const piece of response.body) found.push(piece.toString());
      })(),
    ).rejects.toThrow();
    expect(found.join('')).toBe('abc');
  });

  it('gives its connection up when the reader leaves, and when it is larger than allowed', async () => {
    const endless = (server: ServerResponse): void => {
      const write = (): void => {
        while (!server.destroyed && server.write(Buffer.alloc(16 * 1024)));
      };
      server.on('drain', write);
      write();
    };
    const left = await answered(endless);
    const closed = once(left.server, 'close');
    for await (const _ of left.response.body) break;
    await closed;
    const tooLarge = await answered(endless);
    await expect(readText(tooLarge.response, 100_000)).rejects.toMatchObject({ code: 'invalid_response' });
    const dumped = await answered(endless);
    await dumped.response.body.dump();
    await once(dumped.server, 'close');
  });

  it('ends with the reason of the signal', async () => {
    const stop = new AbortController();
    const { response, server } = await answered((answer) => void answer.write('a'), stop.signal);
    const reading = collected(response.body);
    const closed = once(server, 'close');
    stop.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    await closed;
  });
});

it('a request that waits for its connection ends with its signal at once', async () => {
  const http = createHttpClient({ lookup: () => undefined });
  const stop = new AbortController();
  const sent = http.send({ method: 'GET', url: new URL('http://nowhere.example/'), signal: stop.signal });
  stop.abort(new Error('enough'));
  // The connection itself is given up after ten seconds.
  const late = setTimeout(5_000, 'late', { ref: false });
  await expect(Promise.race([sent, late])).rejects.toThrow('enough');
});
