/** Workers and their logs, of real processes behind the local RunPod. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { RunPodManagement } from './client.ts';
import { image } from './desired-endpoint.fixture.ts';
import { type LocalRunPod, startLocalRunPod } from './local-runpod.fixture.ts';
import { type LogSource, readWorkerLog, type WorkerLogLine } from './worker-logs.ts';

let cloud: LocalRunPod;
let folder: string;

beforeAll(async () => {
  cloud = await startLocalRunPod();
}, 60_000);
afterAll(() => cloud[Symbol.asyncDispose]());
beforeEach(async () => {
  await cloud.reset();
  folder = mkdtempSync(path.join(tmpdir(), 'runpod-logs-'));
  return () => rmSync(folder, { recursive: true });
});

/** An endpoint with one worker that has said `one`, `two` and says `three` once the file `go` is there. */
async function worker(client: RunPodManagement): Promise<{ endpoint: string; id: string }> {
  const script = `echo one; echo two; while [ ! -e '${folder}/go' ]; do sleep 0.05; done; echo three`;
  await cloud.control('PUT', 'worker', { command: ['sh', '-c', script] });
  const { id: endpoint } = await client.createEndpoint({
    name: 'talks',
    type: 'QUEUE',
    image: image(),
    gpu: { pools: ['ADA_24'], count: 1 },
    scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
    workers: { min: 1, max: 1 },
  });
  const id = await expect
    .poll(async () => (await client.listWorkers(endpoint)).workers[0]?.startedAt ?? null, { timeout: 30_000 })
    .not.toBeNull()
    .then(async () => (await client.listWorkers(endpoint)).workers[0]?.id ?? '');
  return { endpoint, id };
}

async function texts(lines: AsyncIterable<WorkerLogLine>): Promise<string[]> {
  const found: string[] = [];
  for await (const { line } of lines) found.push(line);
  return found;
}

describe('workers', () => {
  it('are listed with their state, and said what they print', async () => {
    await using client = cloud.client();
    const { endpoint, id } = await worker(client);
    expect(await client.listWorkers(endpoint)).toMatchObject({
      endpointVersion: 1,
      workers: [{ id, status: 'INITIALIZING', isStale: false, gpuCount: 1, image: image() }],
    });
    const options = { source: 'container', quietMs: 1_000 } as const;
    await expect
      .poll(() => texts(client.workerLog(endpoint, id, options)), { timeout: 30_000 })
      .toEqual(['one', 'two']);
    expect(await texts(client.workerLog(endpoint, id, { ...options, tail: 1 }))).toEqual(['two']);
    const [first] = await texts(client.workerLog(endpoint, id, { source: 'system', quietMs: 1_000 }));
    expect(first).toContain(`worker ${id} started`);
    await expect(texts(client.workerLog(endpoint, 'none', options))).rejects.toMatchObject({
      code: 'not_found',
    });
    await expect(texts(client.workerLog(endpoint, '..', options))).rejects.toMatchObject({
      code: 'invalid_settings',
    });
  });

  it('are followed over broken connections until they end, each line once', async () => {
    await using client = cloud.client();
    const { endpoint, id } = await worker(client);
    await cloud.fault('cut-logs=1:3');
    const found: string[] = [];
    for await (const { line } of client.workerLog(endpoint, id, { source: 'container', follow: true })) {
      found.push(line);
      if (line === 'two') writeFileSync(path.join(folder, 'go'), '');
    }
    expect(found).toEqual(['one', 'two', 'three']);
  });

  it('are followed until the caller has enough', async () => {
    await using client = cloud.client();
    const { endpoint, id } = await worker(client);
    const stop = new AbortController();
    const reason = new Error('enough');
    const read = texts(client.workerLog(endpoint, id, { follow: true, signal: stop.signal }));
    stop.abort(reason);
    await expect(read).rejects.toBe(reason);
  });
});

/** A stream of these pieces. */
async function* pieces(...buffers: readonly Buffer[]): AsyncGenerator<Buffer> {
  await Promise.resolve();
  yield* buffers;
}

function source(...buffers: readonly Buffer[]): LogSource {
  return { open: () => Promise.resolve(pieces(...buffers)), pause: () => Promise.resolve() };
}

describe('a log', () => {
  const event = (at: string, line: string): string =>
    `id: ${at}\ndata: ${JSON.stringify({ source: 'container', line, ts: at })}\n\n`;

  it('is put together from pieces cut anywhere, with equal lines of one moment as often as they came', async () => {
    const whole = Buffer.from(event('1', 'é') + event('1', 'same') + event('1', 'same') + event('2', 'last'));
    for (let cut = 1; cut < whole.length; cut += 1) {
      const lines = readWorkerLog(source(whole.subarray(0, cut), whole.subarray(cut)));
      expect(await texts(lines)).toEqual(['é', 'same', 'same', 'last']);
    }
  });

  it('is refused where it is not what the document says', async () => {
    const lines = readWorkerLog(source(Buffer.from('data: {"line": 1}\n')));
    await expect(texts(lines)).rejects.toMatchObject({ code: 'invalid_response' });
  });
});
