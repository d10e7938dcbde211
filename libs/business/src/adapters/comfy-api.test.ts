import { parseApiWorkflow } from '@ryla/workflow';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';

import type { AdapterEvent } from '../adapter.ts';
import { type HttpStandIn, httpStandIn, json, type ReceivedRequest } from '../testing/http-stand-in.ts';
import { comfyApi, parseEvents } from './comfy-api.ts';
import { modal } from './modal.ts';

const { signal } = new AbortController();
const content = Buffer.from('0123456789');
const succeeded = {
  id: 'j',
  status: 'succeeded',
  outputs: [
    {
      node_id: '9',
      name: 'ten.txt',
      type: 'text',
      content_type: 'text/plain',
      size_bytes: 10,
      id: 'o1',
      url: '/api/v2/assets/o1/content',
    },
  ],
};

const standIns: HttpStandIn[] = [];
async function serve(answer: Parameters<typeof httpStandIn>[0]): Promise<HttpStandIn> {
  const standIn = await httpStandIn(answer);
  standIns.push(standIn);
  return standIn;
}
afterEach(async () => {
  for (const standIn of standIns.splice(0)) await standIn[Symbol.asyncDispose]();
});

/** A job as Comfy API v2 has it, and as our gateway does below /api/ryla. */
function jobAt(path: string, job: object): object {
  return path.startsWith('/api/ryla/') ? { job } : job;
}

async function outputOf(url: string, allowPrivateNetworks = true) {
  const adapter = modal({
    baseUrl: url,
    auth: { type: 'modal-proxy', key: 'wk', secret: 'ws' },
    allowPrivateNetworks,
  });
  const [output] = (await adapter.status({ id: 'j' }, { signal })).outputs;
  return output!;
}

describe('event streams', () => {
  const text = [
    ': keepalive\n\n',
    'event: status\r\ndata: {"status":"queued","queue_position":2}\r\n\r\n',
    'event: progress\ndata: {"value":0.5,\ndata: "nodes_done":1,"nodes_total":2,"current_node":"7é"}\n\n',
    'event: preview\ndata: {"node_id":"7","content_type":"image/png","data_base64":"QUJD"}\n\n',
    'event: novelty\ndata: {}\n\nevent: progress\ndata: no json\n\n',
    'event: output\ndata: ' + JSON.stringify(succeeded.outputs[0]) + '\n\n',
    'event: status\ndata: {"status":"succeeded"}\n\n',
  ].join('');

  async function events(pieces: readonly Buffer[]): Promise<AdapterEvent[]> {
    return Array.fromAsync(parseEvents(inPieces(pieces)));
  }

  it('says the same however the bytes are cut', async () => {
    const bytes = Buffer.from(text);
    const whole = await events([bytes]);
    expect(whole.map(({ type }) => type)).toEqual(['snapshot', 'snapshot', 'preview', 'output', 'snapshot']);
    expect(whole[1]).toMatchObject({ snapshot: { status: 'running', progress: { node: '7é' } } });
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.nat(bytes.length), { maxLength: 60 }), async (cuts) => {
        const at = [0, ...cuts.sort((a, b) => a - b), bytes.length];
        const pieces = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
        expect(await events(pieces)).toEqual(whole);
      }),
      { numRuns: 100 },
    );
  });
});

async function* inPieces(pieces: readonly Buffer[]): AsyncGenerator<Buffer> {
  await Promise.resolve();
  yield* pieces;
}

describe('downloads', () => {
  it('go on by Range where the connection broke', async () => {
    const standIn = await serve((request, response) => {
      if (!request.path.endsWith('/content')) return json(response, 200, jobAt(request.path, succeeded));
      const { range } = request.headers;
      if (range === undefined) {
        response.writeHead(200, { 'content-length': 10 });
        response.write(content.subarray(0, 4), () => setImmediate(() => response.destroy()));
      } else response.writeHead(206).end(content.subarray(4));
      return undefined;
    });
    expect(await (await outputOf(standIn.url)).bytes()).toEqual(content);
    expect(standIn.received.at(-1)?.headers.range).toBe('bytes=4-');
  });

  it('are an error when they stay short', async () => {
    const standIn = await serve((request, response) => {
      if (!request.path.endsWith('/content')) return json(response, 200, jobAt(request.path, succeeded));
      response.writeHead(request.headers.range === undefined ? 200 : 206).end();
      return undefined;
    });
    await expect((await outputOf(standIn.url)).bytes()).rejects.toMatchObject({
      code: 'output_truncated',
      nodeId: '9',
    });
  });

  it('follow a signed address on another host without our credentials', async () => {
    const bucket = await serve((_request, response) => response.end(content));
    const standIn = await serve((request, response) => {
      if (!request.path.endsWith('/content')) return json(response, 200, jobAt(request.path, succeeded));
      response.writeHead(302, { location: `${bucket.url}/signed` }).end();
      return undefined;
    });
    expect(await (await outputOf(standIn.url)).bytes()).toEqual(content);
    const has = (request: ReceivedRequest | undefined): boolean => 'modal-secret' in (request?.headers ?? {});
    expect(has(standIn.received.at(-1))).toBe(true);
    expect(has(bucket.received[0])).toBe(false);
  });
});

describe('answers', () => {
  it.each([
    ['no JSON', '<html>', 'invalid_response'],
    ['another shape', '{"id":1}', 'invalid_response'],
    ['an unknown status', JSON.stringify({ ...succeeded, status: 'dreaming' }), 'invalid_response'],
  ])('of %s are refused', async (_name, body, code) => {
    const standIn = await serve((_request, response) => response.end(body));
    const adapter = comfyApi({ baseUrl: standIn.url });
    await expect(adapter.status({ id: 'j' }, { signal })).rejects.toMatchObject({ code });
  });

  it('that are cut short are refused', async () => {
    const standIn = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('{', () => setImmediate(() => response.destroy()));
    });
    const answer = comfyApi({ baseUrl: standIn.url }).status({ id: 'j' }, { signal });
    await expect(answer).rejects.toMatchObject({ code: 'invalid_response', retryable: true });
  });

  it('of somebody else with 404 say nothing about a job', async () => {
    const standIn = await serve((_request, response) => {
      response.writeHead(404).end('modal-http: app for invoked web endpoint is stopped');
      return undefined;
    });
    const adapter = comfyApi({ baseUrl: standIn.url, lookup: true });
    const expected = { code: 'backend_error', retryable: true };
    await expect(adapter.status({ id: 'j' }, { signal })).rejects.toMatchObject(expected);
    await expect(adapter.lookup?.('j', { signal })).rejects.toMatchObject(expected);
  });

  it('with a redirect are not followed', async () => {
    const standIn = await serve((_request, response) => response.writeHead(303, { location: '/' }).end());
    await expect(comfyApi({ baseUrl: standIn.url }).status({ id: 'j' }, { signal })).rejects.toMatchObject({
      code: 'backend_error',
    });
    expect(standIn.received).toHaveLength(1);
  });

  it('come from *.localhost too, which is this machine', async () => {
    const standIn = await serve((_request, response) => json(response, 200, succeeded));
    const baseUrl = standIn.url.replace('127.0.0.1', 'acme--some-label.localhost');
    expect((await comfyApi({ baseUrl }).status({ id: 'j' }, { signal })).status).toBe('succeeded');
  });
});

describe('uploads', () => {
  const workflow = parseApiWorkflow({ '1': { class_type: 'LoadImage', inputs: { image: 'a.png' } } });
  const withFile = (jobId: string, bytes: Uint8Array) => ({
    ...{ jobId, endpoint: undefined, workflow },
    files: [{ name: 'a.png', source: { name: 'a.png', bytes } }],
  });
  const paths = (standIn: HttpStandIn): string[] => standIn.received.map(({ path }) => path);

  it('of the same content happen once, and jobs refer to the asset', async () => {
    const standIn = await serve((request, response) =>
      json(
        response,
        201,
        request.path.endsWith('/assets') ? { id: 'asset-1' } : { ...succeeded, outputs: [] },
      ),
    );
    const adapter = comfyApi({ baseUrl: standIn.url });
    for (const jobId of ['a', 'b']) await adapter.submit(withFile(jobId, content), { signal });
    expect(paths(standIn)).toEqual(['/api/v2/assets', '/api/v2/jobs', '/api/v2/jobs']);
    const asset = { __type: 'core/ASSET', info: { id: 'asset-1', file_path: 'a.png' } };
    expect(JSON.parse(standIn.received[2]!.body.toString())).toMatchObject({
      workflow: { '1': { inputs: { image: asset } } },
    });
    await adapter.close();
  });

  it('are repeated after the server has lost one, and only then may the job be sent again', async () => {
    let jobs = 0;
    const standIn = await serve((request, response) => {
      if (request.path.endsWith('/assets')) return json(response, 201, { id: 'asset' });
      jobs += 1;
      if (jobs !== 2) return json(response, 201, { ...succeeded, outputs: [] });
      return json(response, 422, { error: { code: 'missing_asset', message: 'gone' } });
    });
    const adapter = comfyApi({ baseUrl: standIn.url });
    await adapter.submit(withFile('a', content), { signal });
    const second = adapter.submit(withFile('b', content), { signal });
    await expect(second).rejects.toMatchObject({
      code: 'invalid_input_file',
      accepted: 'no',
      retryable: true,
    });
    await adapter.submit(withFile('b', content), { signal });
    expect(paths(standIn).filter((path) => path.endsWith('/assets'))).toHaveLength(2);
    await adapter.close();
  });

  it('over the limit are refused before anything is sent', async () => {
    const standIn = await serve((_request, response) => response.end());
    const adapter = comfyApi({ baseUrl: standIn.url, maximumUploadBytes: 9 });
    await expect(adapter.submit(withFile('a', content), { signal })).rejects.toMatchObject({
      code: 'payload_too_large',
      accepted: 'no',
    });
    expect(standIn.received).toEqual([]);
    await adapter.close();
  });

  it('of an input address never send our credentials there, even to the backend itself', async () => {
    const standIn = await serve((request, response) =>
      request.method === 'GET' ? response.end('x') : json(response, 201, { ...succeeded, outputs: [] }),
    );
    const adapter = comfyApi({
      baseUrl: standIn.url,
      headers: { authorization: 'Bearer secret' },
      allowPrivateNetworks: true,
    });
    const files = [{ name: 'a.png', source: { url: `${standIn.url}/api/v2/assets/private/content` } }];
    await adapter.submit({ ...withFile('a', content), files }, { signal });
    expect(standIn.received[0]).toMatchObject({
      method: 'GET',
      headers: { host: new URL(standIn.url).host },
    });
    expect(standIn.received[0]?.headers.authorization).toBeUndefined();
    await adapter.close();
  });
});

describe('downloads from a redirect', () => {
  it('do not go to private networks unless they are allowed', async () => {
    const bucket = await serve((_request, response) => response.end(content));
    const standIn = await serve((request, response) => {
      if (!request.path.endsWith('/content')) return json(response, 200, jobAt(request.path, succeeded));
      response.writeHead(302, { location: `${bucket.url.replace('http:', 'https:')}/signed` }).end();
      return undefined;
    });
    await expect((await outputOf(standIn.url, false)).bytes()).rejects.toMatchObject({
      code: 'untrusted_url',
    });
    expect(bucket.received).toEqual([]);
  });
});
