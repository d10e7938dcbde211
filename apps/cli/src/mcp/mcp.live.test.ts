/** `ryla mcp` as an agent's client has it: the official client, over stdio and HTTP, against the local clouds. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { Client, type ClientOptions, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import type { JobRecord } from '@ryla/business';
import { openStore } from '@ryla/business/config';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import {
  createLiveWorkspace,
  ended,
  LIVE_MS,
  type LiveWorkspace,
  saidOn,
} from '../../test-support/live-workspace.ts';

const TOKEN = 'a-token-of-the-test-alone';
const PNG = /^iVBORw0KGgo/;

/** The revisions of the protocol: clients that begin with `initialize`, and those from 2026-07-28 on. */
const ERAS = [
  ['2025', {}],
  ['2026', { versionNegotiation: { mode: 'auto' } }],
] as const satisfies readonly (readonly [string, ClientOptions])[];

describe('ryla mcp', () => {
  let workspace: LiveWorkspace;
  const closers: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    workspace = await createLiveWorkspace();
    // It prints where asked to: stdout must stay the protocol's all the same.
    await writeFile(
      path.join(workspace.root, 'ryla.config.ts'),
      "if (process.argv.includes('mcp') && !process.argv.includes('--http')) console.log('loaded');\nexport default { defaultProvider: 'runpod' };\n",
    );
  }, LIVE_MS);
  afterAll(() => workspace.close(), LIVE_MS);
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
    await workspace.fault();
  }, LIVE_MS);

  function newClient(options: ClientOptions): Client {
    return new Client({ name: 'test', version: '1.0.0' }, options);
  }

  async function overStdio(options: ClientOptions = {}, ...args: readonly string[]): Promise<Client> {
    const line = workspace.commandLine('mcp', ...args);
    const transport = new StdioClientTransport({ ...line, cwd: workspace.root, stderr: 'pipe' });
    const client = newClient(options);
    await client.connect(transport);
    closers.push(() => client.close());
    return client;
  }

  async function listening(...args: readonly string[]): Promise<{ url: URL; token: string }> {
    const child = workspace.start(['mcp', '--http', '0', ...args], { RYLA_MCP_TOKEN: TOKEN });
    const end = ended(child);
    closers.push(async () => {
      child.kill('SIGINT');
      expect((await end).code).toBe(0);
    });
    const [, url = ''] = await saidOn(child.stderr, /Listening on (\S+)\n/);
    return { url: new URL(url), token: TOKEN };
  }

  async function overHttp(url: URL, options: ClientOptions = {}): Promise<Client> {
    const transport = new StreamableHTTPClientTransport(url, {
      requestInit: { headers: { Authorization: `Bearer ${TOKEN}` } },
    });
    const client = newClient(options);
    await client.connect(transport);
    closers.push(() => client.close());
    return client;
  }

  async function newestJob(): Promise<JobRecord> {
    await using store = await openStore({ root: workspace.root, target: 'local', config: {}, env: {} });
    const { jobs } = await store.list({}, { limit: 1 });
    return jobs[0]!;
  }

  describe.each(ERAS)('for clients of %s', (_era, options) => {
    it(
      'lists endpoints as typed tools and runs one, with progress and a picture',
      { timeout: LIVE_MS },
      async () => {
        const client = await overStdio(options);
        const { tools } = await client.listTools();
        expect(tools.map(({ name }) => name)).toEqual([
          'photo-finish',
          'job_status',
          'job_result',
          'list_jobs',
          'cancel_job',
        ]);
        expect(tools[0]).toMatchObject({
          title: 'Photo finish',
          inputSchema: {
            properties: { width: { type: 'integer', minimum: 64, maximum: 4096, default: 960 } },
          },
        });

        const progress: number[] = [];
        const answer = await client.callTool(
          { name: 'photo-finish', arguments: { width: 64 } },
          { onprogress: ({ progress: value }) => progress.push(value) },
        );
        const [text, picture] = answer.content;
        expect(text).toMatchObject({ type: 'text', text: expect.stringContaining('succeeded') as string });
        expect(picture).toMatchObject({
          type: 'image',
          mimeType: 'image/png',
          data: expect.stringMatching(PNG) as string,
        });
        expect(progress.length).toBeGreaterThan(0);
        expect(progress).toEqual(progress.toSorted((a, b) => a - b));
        const { jobId, outputs } = answer.structuredContent as { jobId: string; outputs: { path: string }[] };
        expect((await readFile(outputs[0]!.path)).subarray(1, 4).toString()).toBe('PNG');
        expect(await newestJob()).toMatchObject({ id: jobId, status: 'succeeded', tags: ['mcp'] });

        const again = await client.callTool({ name: 'job_result', arguments: { jobId } });
        expect(again.structuredContent).toMatchObject({ outputs: [{ path: outputs[0]!.path }] });
        const status = await client.callTool({ name: 'job_status', arguments: { jobId } });
        expect(status.structuredContent).toMatchObject({ jobId, status: 'succeeded' });
      },
    );

    it('serves HTTP to those who have the token', { timeout: LIVE_MS }, async () => {
      const { url } = await listening();
      const client = await overHttp(url, options);
      const progress: number[] = [];
      const answer = await client.callTool(
        { name: 'photo-finish', arguments: { width: 64 } },
        { onprogress: ({ progress: value }) => progress.push(value) },
      );
      expect(answer.content).toContainEqual(expect.objectContaining({ type: 'image' }));
      expect(progress.length).toBeGreaterThan(0);
    });

    it('tells of endpoints that come and change while it runs', { timeout: LIVE_MS }, async () => {
      const { url } = await listening();
      const heard = [Promise.withResolvers<string[]>(), Promise.withResolvers<string[]>()];
      const withTold = ({ resolve }: (typeof heard)[number]): ClientOptions => ({
        ...options,
        listChanged: {
          tools: { onChanged: (_error, tools) => resolve((tools ?? []).map(({ name }) => name)) },
        },
      });
      const stdio = await overStdio(withTold(heard[0]!));
      await overHttp(url, withTold(heard[1]!));
      const folder = path.join(workspace.root, 'apps/endpoints/photo-copy');
      const original = path.join(workspace.root, 'apps/endpoints/photo-finish');
      try {
        await mkdir(folder);
        for (const file of ['workflow.json', 'photo.jpg'])
          await writeFile(path.join(folder, file), await readFile(path.join(original, file)));
        const config = await readFile(path.join(original, 'endpoint.json'), 'utf8');
        await writeFile(
          path.join(folder, 'endpoint.json'),
          config.replace('"name": "photo-finish"', '"name": "photo-copy"'),
        );
        for (const { promise } of heard) expect(await promise).toContain('photo-copy');
        // It has no worker; that it is known says that its deployment was looked for.
        const answer = await stdio.callTool({ name: 'photo-copy', arguments: { width: 1 } });
        expect(JSON.stringify(answer.content)).toContain('at least 64');
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  });

  it('answers mistakes so that an agent can correct them', { timeout: LIVE_MS }, async () => {
    const client = await overStdio();
    const mistake = async (name: string, values: Record<string, unknown>): Promise<string> => {
      const answer = await client.callTool({ name, arguments: values });
      expect(answer.isError).toBe(true);
      const [content] = answer.content;
      return content?.type === 'text' ? content.text : '';
    };
    expect(await mistake('photo-finish', { width: 1 })).toContain('must be at least 64, not 1');
    expect(await mistake('photo-finish', { colour: 'red' })).toContain(
      'It has: image, width, sharpness, vignette',
    );
    expect(await mistake('photo-finish', { image: '/etc/passwd' })).toContain('is no image file');
    expect(await mistake('photo-finish', { image: '../elsewhere.png' })).toContain('--files');
    expect(await mistake('job_status', { jobId: '00000000-0000-4000-8000-000000000000' })).toContain(
      'unknown_job',
    );
    expect(await mistake('list_jobs', { limit: 0 })).toContain('invalid_input');
    await expect(client.callTool({ name: 'nothing', arguments: {} })).rejects.toThrow('photo-finish');
  });

  it('has nothing but messages on stdout, whatever else prints', { timeout: LIVE_MS }, async () => {
    const child = workspace.start(['mcp'], {}, 'pipe');
    const end = ended(child);
    const answered = saidOn(child.stdout, /"id":1\b/);
    const params = {
      protocolVersion: '2025-06-18',
      capabilities: {},
      clientInfo: { name: 'raw', version: '1' },
    };
    child.stdin?.write(`${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params })}\n`);
    await answered;
    child.stdin?.end();
    const { code, stdout, stderr } = await end;
    expect(code).toBe(0);
    for (const line of stdout.trimEnd().split('\n'))
      expect(JSON.parse(line)).toMatchObject({ jsonrpc: '2.0' });
    expect(stderr).toContain('loaded');
  });

  it('keeps to the limits of the session', { timeout: LIVE_MS }, async () => {
    const client = await overStdio({}, '--max-jobs', '1', '--inline', '0');
    // One that is refused does not count.
    await client.callTool({ name: 'photo-finish', arguments: { width: 1 } });
    const first = await client.callTool({ name: 'photo-finish', arguments: { width: 64 } });
    // Beyond --inline a picture is a link to its file.
    expect(first.content).toContainEqual(
      expect.objectContaining({ type: 'resource_link', mimeType: 'image/png' }),
    );
    const second = await client.callTool({ name: 'photo-finish', arguments: { width: 64 } });
    expect(second).toMatchObject({ isError: true });
    expect(JSON.stringify(second.content)).toContain('spend_limit_reached');

    const poor = await overStdio({}, '--max-cost', '0');
    const refused = await poor.callTool({ name: 'photo-finish', arguments: { width: 64 } });
    expect(JSON.stringify(refused.content)).toContain('--max-cost');
    expect(refused).toMatchObject({ isError: true });
  });

  it(
    'answers before a long job has ended, and lets others only look at it',
    { timeout: LIVE_MS },
    async () => {
      await workspace.fault('cold-start-latency-ms=3000');
      const client = await overStdio({}, '--wait', '1');
      const answer = await client.callTool({ name: 'photo-finish', arguments: { width: 160 } });
      expect(answer.isError).toBeUndefined();
      const { jobId } = answer.structuredContent as { jobId: string };
      expect(JSON.stringify(answer.content)).toContain('job_result');
      await client.callTool({ name: 'cancel_job', arguments: { jobId } });
      await expect.poll(async () => (await newestJob()).status, { timeout: 20_000 }).toBe('canceled');

      const run = await workspace.ryla('submit', 'photo-finish', '-i', 'width=64');
      const byHand = await client.callTool({ name: 'cancel_job', arguments: { jobId: run.stdout.trim() } });
      expect(JSON.stringify(byHand.content)).toContain('was not started by an agent');
      await workspace.ryla('watch', run.stdout.trim());
    },
  );

  it('ends with its client, and leaves its jobs running', { timeout: LIVE_MS }, async () => {
    await workspace.fault('cold-start-latency-ms=3000');
    const client = await overStdio();
    const isRunning = Promise.withResolvers<undefined>();
    const call = client.callTool(
      { name: 'photo-finish', arguments: { width: 192 } },
      { onprogress: () => isRunning.resolve(undefined) },
    );
    const lost = expect(call).rejects.toThrow();
    await isRunning.promise;
    const { id: jobId } = await newestJob();
    await client.close();
    await lost;
    const watched = await workspace.ryla('watch', jobId, '--json');
    expect(JSON.parse(watched.stdout)).toMatchObject({ jobId, status: 'succeeded' });
  });

  it('lets the job of a session go on that ends without canceling it', { timeout: LIVE_MS }, async () => {
    await workspace.fault('cold-start-latency-ms=3000');
    const { url } = await listening();
    const client = await overHttp(url);
    const isRunning = Promise.withResolvers<undefined>();
    const call = client.callTool(
      { name: 'photo-finish', arguments: { width: 224 } },
      { onprogress: () => isRunning.resolve(undefined) },
    );
    call.catch(() => undefined);
    await isRunning.promise;
    const { id } = await newestJob();
    await (client.transport as StreamableHTTPClientTransport).terminateSession();
    const other = await overHttp(url);
    const answer = await other.callTool({ name: 'job_result', arguments: { jobId: id } });
    expect(answer.structuredContent).toMatchObject({ jobId: id, status: 'succeeded' });
  });

  it('turns away who has no token, and web pages', { timeout: LIVE_MS }, async () => {
    const { url } = await listening();
    const ask = (headers: Record<string, string>) =>
      fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
          ...headers,
        },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
      });
    const authorization = `Bearer ${TOKEN}`;
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: `Basic ${TOKEN}` }]) {
      const { status, headers: given } = await ask(headers);
      expect([status, given.get('www-authenticate')]).toEqual([401, 'Bearer']);
    }
    expect((await ask({ authorization, origin: 'https://evil.example' })).status).toBe(403);
    expect((await ask({ authorization, 'mcp-session-id': 'gone' })).status).toBe(404);
    expect((await fetch(new URL('/other', url), { headers: { authorization } })).status).toBe(404);
  });

  it(
    'makes a token where none is set, and refuses one that can be guessed',
    { timeout: LIVE_MS },
    async () => {
      const child = workspace.start(['mcp', '--http', '0'], { RYLA_MCP_TOKEN: '' });
      const end = ended(child);
      const [, made = ''] = await saidOn(child.stderr, /Token \([^)]+\): (\S+)\n/);
      expect(made.length).toBeGreaterThanOrEqual(43);
      child.kill('SIGTERM');
      expect(await end).toMatchObject({ code: 0, stdout: '' });
      const weak = await ended(workspace.start(['mcp', '--http', '0'], { RYLA_MCP_TOKEN: 'short' }));
      expect([weak.code, weak.stderr]).toEqual([2, expect.stringContaining('16 characters')]);
    },
  );

  describe.each(ERAS)('for clients of %s that give up', (_era, options) => {
    it('cancels the job of a call that is canceled', { timeout: LIVE_MS }, async () => {
      await workspace.fault('cold-start-latency-ms=8000');
      const { url } = await listening();
      for (const client of [await overStdio(options), await overHttp(url, options)]) {
        const stop = new AbortController();
        const call = client.callTool(
          { name: 'photo-finish', arguments: { width: 128 } },
          // The job is stored before its first progress is told.
          { signal: stop.signal, onprogress: () => stop.abort('enough') },
        );
        await expect(call).rejects.toThrow();
        await expect.poll(async () => (await newestJob()).status, { timeout: 20_000 }).toBe('canceled');
      }
    });
  });
});
