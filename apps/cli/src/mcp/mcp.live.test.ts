/**
 * `ryla mcp` as an agent's client has it: the official client, over stdio and HTTP, against the local clouds. One service
 * over HTTP for all tests, and workers that stay warm: what is tried here is the protocol, not cold starts.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
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
  WORKER_COMMAND,
} from '../../test-support/live-workspace.ts';

const TOKEN = 'a-token-of-the-test-alone';
const PNG = /^iVBORw0KGgo/;

/** The revisions of the protocol: clients that begin with `initialize`, and those from 2026-07-28 on. */
const ERAS = [
  ['2025', {}],
  ['2026', { versionNegotiation: { mode: 'auto' } }],
] as const satisfies readonly (readonly [string, ClientOptions])[];

/** An endpoint on Modal, one on RunPod, and one whose worker starts when a test says so. */
const MODAL = 'photo-modal';
const RUNPOD = 'photo-finish';
const HELD = 'photo-held';

/** An endpoint that comes while clients are connected. */
const COPY = 'photo-copy';

/** Milliseconds that a worker stays warm: longer than all tests. */
const WARM_MS = 600_000;

describe('ryla mcp', () => {
  let workspace: LiveWorkspace;
  let url: URL;
  const closers: (() => Promise<unknown>)[] = [];
  const lastClosers: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    workspace = await createLiveWorkspace();
    lastClosers.push(() => workspace.close());
    // It prints where asked to: stdout must stay the protocol's all the same.
    await writeFile(
      path.join(workspace.root, 'ryla.config.ts'),
      `if (process.argv.includes('mcp')) console.log('loaded');
export default { defaultProvider: 'runpod', routes: { '${MODAL}': { modal: 1 } } };
`,
    );
    // The gateway of an endpoint is found by its label.
    await workspace.addEndpoint(MODAL, { modal: { auth: 'modal-proxy', label: `ryla-${RUNPOD}` } });
    await workspace.addEndpoint(HELD);
    const wait = `while [ ! -e '${startFile()}' ]; do sleep 0.1; done; exec "$@"`;
    const held = ['sh', '-c', wait, 'sh', ...WORKER_COMMAND];
    await workspace.registerWorker(HELD, { command: held, idleTimeoutMs: WARM_MS });
    await workspace.registerWorker(RUNPOD, { idleTimeoutMs: WARM_MS });
    await workspace.deployModal();
    ({ url } = await listening());
  }, LIVE_MS);
  afterAll(async () => {
    // The clouds end whatever became of the service before.
    const problems: unknown[] = [];
    for (const close of lastClosers.splice(0).reverse())
      await close().catch((error: unknown) => problems.push(error));
    expect(problems).toEqual([]);
  }, LIVE_MS);
  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  }, LIVE_MS);

  /** With this file the worker of {@link HELD} starts. */
  function startFile(): string {
    return path.join(workspace.root, 'start-the-worker');
  }

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

  async function listening(): Promise<{ url: URL }> {
    const child = workspace.start(['mcp', '--http', '0'], { RYLA_MCP_TOKEN: TOKEN });
    const end = ended(child);
    lastClosers.push(async () => {
      child.kill('SIGINT');
      expect((await end).code).toBe(0);
    });
    const [, address = ''] = await saidOn(child.stderr, /Listening on (\S+)\n/);
    return { url: new URL(address) };
  }

  async function overHttp(options: ClientOptions = {}): Promise<Client> {
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

  /** Runs an endpoint, and looks at all that a client gets of it. */
  async function runAndLook(client: Client, name: string): Promise<void> {
    const progress: number[] = [];
    const answer = await client.callTool(
      { name, arguments: { width: 64 } },
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
    const provider = name === MODAL ? 'modal' : 'runpod';
    expect(await newestJob()).toMatchObject({
      id: jobId,
      status: 'succeeded',
      tags: ['mcp'],
      backend: `${provider}:${name}`,
    });

    const again = await client.callTool({ name: 'job_result', arguments: { jobId } });
    expect(again.structuredContent).toMatchObject({ outputs: [{ path: outputs[0]!.path }] });
    const status = await client.callTool({ name: 'job_status', arguments: { jobId } });
    expect(status.structuredContent).toMatchObject({ jobId, status: 'succeeded' });
  }

  it.each(ERAS)(
    'gives clients of %s typed tools that run on Modal and on RunPod, and change, over stdio and HTTP',
    { timeout: LIVE_MS },
    async (_era, options) => {
      const heard = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
      const withTold = ({ resolve }: (typeof heard)[number]): ClientOptions => ({
        ...options,
        listChanged: {
          tools: {
            onChanged: (_error, tools) => {
              // That the copy of an earlier test is gone may be told late.
              if (tools?.some(({ name }) => name === COPY) === true) resolve(undefined);
            },
          },
        },
      });
      const stdio = await overStdio(withTold(heard[0]!));
      const { tools } = await stdio.listTools();
      expect(tools.map(({ name }) => name)).toEqual([
        RUNPOD,
        HELD,
        MODAL,
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
      const http = await overHttp(withTold(heard[1]!));
      await runAndLook(stdio, RUNPOD);
      await runAndLook(http, MODAL);

      for (const client of [stdio, http]) {
        const stop = new AbortController();
        const call = client.callTool(
          { name: HELD, arguments: { width: 128 } },
          // The job is stored before its first progress is told.
          { signal: stop.signal, onprogress: () => stop.abort('enough') },
        );
        await expect(call).rejects.toThrow();
        await expect.poll(async () => (await newestJob()).status, { timeout: 30_000 }).toBe('canceled');
      }

      try {
        await workspace.addEndpoint(COPY);
        for (const { promise } of heard) await promise;
        // It has no worker; that it is known says that its deployment was looked for.
        const answer = await stdio.callTool({ name: COPY, arguments: { width: 1 } });
        expect(JSON.stringify(answer.content)).toContain('at least 64');
      } finally {
        await rm(path.join(workspace.root, 'apps/endpoints', COPY), { recursive: true });
      }
    },
  );

  it('answers mistakes so that an agent can correct them', { timeout: LIVE_MS }, async () => {
    const client = await overHttp();
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
      const client = await overStdio({}, '--wait', '1');
      const answer = await client.callTool({ name: HELD, arguments: { width: 160 } });
      expect(answer.isError).toBeUndefined();
      const { jobId } = answer.structuredContent as { jobId: string };
      expect(JSON.stringify(answer.content)).toContain('job_result');
      await client.callTool({ name: 'cancel_job', arguments: { jobId } });
      await expect.poll(async () => (await newestJob()).status, { timeout: 30_000 }).toBe('canceled');

      const run = await workspace.ryla('submit', RUNPOD, '-i', 'width=64');
      const byHand = await client.callTool({ name: 'cancel_job', arguments: { jobId: run.stdout.trim() } });
      expect(JSON.stringify(byHand.content)).toContain('was not started by an agent');
      await workspace.ryla('watch', run.stdout.trim());
    },
  );

  it(
    'leaves jobs running when their client ends, or its session does without canceling',
    { timeout: LIVE_MS },
    async () => {
      const started = async (client: Client, width: number): Promise<string> => {
        const isRunning = Promise.withResolvers<undefined>();
        const call = client.callTool(
          { name: HELD, arguments: { width } },
          { onprogress: () => isRunning.resolve(undefined) },
        );
        call.catch(() => undefined);
        await isRunning.promise;
        return (await newestJob()).id;
      };
      const stdio = await overStdio();
      const first = await started(stdio, 192);
      await stdio.close();
      const http = await overHttp();
      const second = await started(http, 224);
      await (http.transport as StreamableHTTPClientTransport).terminateSession();

      await writeFile(startFile(), '');
      const watched = await workspace.ryla('watch', first, '--json');
      expect(JSON.parse(watched.stdout)).toMatchObject({ jobId: first, status: 'succeeded' });
      const other = await overHttp();
      const answer = await other.callTool({ name: 'job_result', arguments: { jobId: second } });
      expect(answer.structuredContent).toMatchObject({ jobId: second, status: 'succeeded' });
    },
  );

  it('turns away who has no token, and web pages', { timeout: LIVE_MS }, async () => {
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
});
