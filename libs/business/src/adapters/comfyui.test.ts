import { randomUUID } from 'node:crypto';

import { parseApiWorkflow } from '@ryla/workflow';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';

import type { Adapter, AdapterEvent } from '../adapter.ts';
import type { JobSnapshot, JobSubmission } from '../job.ts';
import {
  type ComfyUIStandIn,
  comfyuiStandIn,
  type ComfyUIStandInOptions,
} from '../testing/comfyui-stand-in.ts';
import { httpStandIn, json } from '../testing/http-stand-in.ts';
import { greyPng } from '../testing/png.ts';
import { comfyui, type ComfyUIOptions } from './comfyui.ts';
import { reportedOutputs } from './comfyui-outputs.ts';
import { RunProgress } from './comfyui-progress.ts';
import { binaryMessage } from './comfyui-socket.ts';
import { EventChannel } from './event-channel.ts';

const signal = AbortSignal.timeout(120_000);
const picture = greyPng(8, 8);
const cleanups: (() => PromiseLike<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function started(
  options: Partial<ComfyUIStandInOptions> = {},
  adapterOptions: Partial<ComfyUIOptions> = {},
): Promise<readonly [Adapter, ComfyUIStandIn]> {
  const standIn = await comfyuiStandIn({ picture, ...options });
  cleanups.push(() => standIn[Symbol.asyncDispose]());
  return [adapterOf(standIn.url, adapterOptions), standIn];
}

function adapterOf(url: string, options: Partial<ComfyUIOptions> = {}): Adapter {
  const adapter = comfyui({ baseUrl: url, quietMs: 20, reconnectMs: 1, ...options });
  cleanups.push(() => adapter.close());
  return adapter;
}

function job(changes: Partial<JobSubmission> = {}): JobSubmission {
  const workflow = parseApiWorkflow({
    '1': { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 0 } },
    '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'x' } },
  });
  return { jobId: randomUUID(), endpoint: undefined, workflow, files: [], ...changes };
}

function withFile(bytes: Uint8Array, name = 'a.png'): JobSubmission {
  const workflow = parseApiWorkflow({
    '1': { class_type: 'LoadImage', inputs: { image: name } },
    '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'x' } },
  });
  return job({ workflow, files: [{ name, source: { name, bytes } }] });
}

/** The snapshot of a job whose history and queue are these. */
async function snapshotOf(answers: { history?: object; queue?: object }): Promise<JobSnapshot> {
  const standIn = await httpStandIn((request, response) =>
    json(
      response,
      200,
      request.path.startsWith('/history')
        ? answers.history === undefined
          ? {}
          : { j: answers.history }
        : (answers.queue ?? { queue_running: [], queue_pending: [] }),
    ),
  );
  cleanups.push(() => standIn[Symbol.asyncDispose]());
  return adapterOf(standIn.url).status({ id: 'j' }, { signal });
}

const posts = (standIn: ComfyUIStandIn, path: string): number =>
  standIn.received.filter((request) => request.method === 'POST' && request.path === path).length;

describe('submission', () => {
  it('runs under our id, and a second time only when the server does not have it', async () => {
    const [adapter, standIn] = await started();
    const submission = job();
    expect(await adapter.submit(submission, { signal })).toEqual({ id: submission.jobId });
    await expect(adapter.submit(submission, { signal })).rejects.toMatchObject({
      code: 'submission_unknown',
    });
    expect(standIn.runs.get(submission.jobId)).toBe(1);
    standIn.restart();
    await adapter.submit(submission, { signal });
    expect(posts(standIn, '/prompt')).toBe(2);
  });

  it('asks nothing before a job that is new, and looks first after a look-up', async () => {
    const [adapter, standIn] = await started();
    await adapter.submit(job(), { signal });
    expect(standIn.received.filter(({ method }) => method === 'GET')).toEqual([]);
    const submission = job();
    expect(await adapter.lookup?.(submission.jobId, { signal })).toBeUndefined();
    const other = adapterOf(standIn.url);
    await other.submit(submission, { signal });
    await expect(adapter.submit(submission, { signal })).rejects.toMatchObject({ accepted: 'unknown' });
    expect(standIn.runs.get(submission.jobId)).toBe(1);
  });

  it('at once twice is taken once', async () => {
    const [adapter, standIn] = await started();
    const submission = job();
    const results = await Promise.allSettled([1, 2, 3].map(() => adapter.submit(submission, { signal })));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(standIn.runs.get(submission.jobId)).toBe(1);
  });

  it('uploads the same content once, whatever it is called', async () => {
    const [adapter, standIn] = await started();
    await adapter.submit(withFile(picture), { signal });
    await Promise.all(
      [withFile(picture, 'b.png'), withFile(picture)].map((each) => adapter.submit(each, { signal })),
    );
    expect(posts(standIn, '/upload/image')).toBe(1);
    await adapter.submit(withFile(Buffer.concat([picture, Buffer.of(0)])), { signal });
    expect(posts(standIn, '/upload/image')).toBe(2);
    expect(posts(standIn, '/prompt')).toBe(4);
  });

  it('uploads again what the server has lost, when it is sent again', async () => {
    const first = await comfyuiStandIn({ picture });
    cleanups.push(() => first[Symbol.asyncDispose]());
    let target = first.url;
    const proxy = await httpStandIn((request, response) => {
      fetch(target + request.path, {
        method: request.method,
        headers: { 'content-type': request.headers['content-type'] ?? '' },
        ...(request.method === 'POST' ? { body: new Uint8Array(request.body) } : {}),
      })
        .then(async (answer) => response.writeHead(answer.status).end(await answer.text()))
        // The target may be gone before the test's last request is answered.
        .catch(() => response.destroy());
    });
    cleanups.push(() => proxy[Symbol.asyncDispose]());
    const adapter = adapterOf(proxy.url);
    await adapter.submit(withFile(picture), { signal });
    const second = await comfyuiStandIn({ picture });
    cleanups.push(() => second[Symbol.asyncDispose]());
    target = second.url;
    const submission = withFile(picture);
    await expect(adapter.submit(submission, { signal })).rejects.toMatchObject({
      code: 'invalid_workflow',
      nodeId: '1',
      accepted: 'no',
      retryable: true,
    });
    expect(await adapter.submit(submission, { signal })).toEqual({ id: submission.jobId });
  });

  it('with a file over the limit is refused before anything is sent', async () => {
    const [adapter, standIn] = await started({}, { maximumUploadBytes: 100 });
    const refused = adapter.submit(withFile(new Uint8Array(101)), { signal });
    await expect(refused).rejects.toMatchObject({ code: 'payload_too_large', accepted: 'no' });
    expect(standIn.received).toEqual([]);
  });

  it.each([
    [400, '{"error":{"type":"x","message":"m","details":"d"},"node_errors":{}}', 'invalid_workflow', 'no'],
    [400, 'what?', 'invalid_input', 'no'],
    [404, '', 'backend_error', 'no'],
    [413, '', 'payload_too_large', 'no'],
    [429, '', 'rate_limited', 'no'],
    [500, 'trouble', 'backend_error', 'unknown'],
    [200, '<html>', 'invalid_response', 'unknown'],
  ])('answered with %i %s is %s, accepted: %s', async (status, body, code, accepted) => {
    const standIn = await httpStandIn((_request, response) => response.writeHead(status).end(body));
    cleanups.push(() => standIn[Symbol.asyncDispose]());
    await expect(adapterOf(standIn.url).submit(job(), { signal })).rejects.toMatchObject({ code, accepted });
  });

  it('tells every reason of a refusal, and the first node', async () => {
    const errors = [
      { message: 'Required input is missing', details: 'batch_size' },
      { message: 'Required input is missing', details: 'color' },
    ];
    const body = {
      error: {
        type: 'prompt_outputs_failed_validation',
        message: 'Prompt outputs failed validation',
        details: '',
      },
      node_errors: { '1': { errors, dependent_outputs: ['2'], class_type: 'EmptyImage' } },
    };
    const standIn = await httpStandIn((_request, response) => json(response, 400, body));
    cleanups.push(() => standIn[Symbol.asyncDispose]());
    await expect(adapterOf(standIn.url).submit(job(), { signal })).rejects.toMatchObject({
      nodeId: '1',
      classType: 'EmptyImage',
      message:
        'Node 1 (EmptyImage): Required input is missing: batch_size Node 1 (EmptyImage): Required input is missing: color',
    });
  });
});

describe('status', () => {
  it('tells the place in the queue, which comes without order', async () => {
    const entry = (number: number, id: string): unknown[] => [number, id, {}, {}, []];
    const queue = {
      queue_running: [entry(1, 'r')],
      queue_pending: [entry(9, 'z'), entry(3, 'a'), entry(5, 'j')],
    };
    expect(await snapshotOf({ queue })).toMatchObject({ status: 'queued', queuePosition: 2 });
  });

  it('tells which node failed, and whether its memory was not enough', async () => {
    const failed = (type: string, message: string): object => ({
      outputs: {},
      status: {
        status_str: 'error',
        messages: [
          ['execution_start', { timestamp: 5 }],
          [
            'execution_error',
            {
              node_id: '7',
              node_type: 'Canny',
              exception_type: type,
              exception_message: message,
              timestamp: 9,
            },
          ],
        ],
      },
    });
    expect(await snapshotOf({ history: failed('ValueError', 'bad thresholds\n') })).toMatchObject({
      status: 'failed',
      timings: { executionMs: 4 },
      error: {
        code: 'node_execution_error',
        nodeId: '7',
        classType: 'Canny',
        message: 'Node 7 (Canny) failed: bad thresholds',
      },
    });
    expect(await snapshotOf({ history: failed('torch.OutOfMemoryError', 'Allocation') })).toMatchObject({
      error: { code: 'out_of_memory' },
    });
  });

  it('of a job that the server forgot in a restart is failed, and not unknown', async () => {
    const [adapter, standIn] = await started({ held: true });
    const ref = await adapter.submit(job(), { signal });
    standIn.restart();
    expect(await adapter.status(ref, { signal })).toMatchObject({
      status: 'failed',
      error: { code: 'worker_lost', retryable: true },
    });
  });

  it('warns of outputs that the server left out', async () => {
    const node_errors = { '5': { errors: [{ message: 'bad', details: 'very' }], class_type: 'X' } };
    const standIn = await httpStandIn((request, response) =>
      request.path === '/prompt'
        ? json(response, 200, {
            prompt_id: 'j',
            number: 1,
            node_errors,
          })
        : json(response, 200, { j: { outputs: {}, status: { status_str: 'success', messages: [] } } }),
    );
    cleanups.push(() => standIn[Symbol.asyncDispose]());
    const adapter = adapterOf(standIn.url);
    const ref = await adapter.submit(job({ jobId: 'j' }), { signal });
    expect((await adapter.status(ref, { signal })).warnings).toEqual(['Node 5 (X): bad: very']);
  });
});

it('health counts what waits and runs', async () => {
  const [adapter, standIn] = await started({ held: true });
  expect(await adapter.health?.({ signal })).toEqual({ queued: 0, running: 0, idleWorkers: 1 });
  for (const each of [job(), job()]) await adapter.submit(each, { signal });
  standIn.startNext();
  expect(await adapter.health?.({ signal })).toEqual({ queued: 1, running: 1, idleWorkers: 0 });
});

describe('cancellation', () => {
  it('takes a waiting job out of the queue and interrupts a running one, and never another', async () => {
    const [adapter, standIn] = await started({ held: true });
    const submit = () => adapter.submit(job(), { signal });
    const first = await submit();
    const second = await submit();
    const third = await submit();
    standIn.startNext();
    await adapter.cancel(second, { signal });
    expect(posts(standIn, '/interrupt')).toBe(0);
    expect((await adapter.status(second, { signal })).status).toBe('canceled');
    await adapter.cancel(first, { signal });
    expect((await adapter.status(first, { signal })).status).toBe('canceled');
    standIn.runNext();
    expect((await adapter.status(third, { signal })).status).toBe('succeeded');
    await adapter.cancel(third, { signal });
    expect(posts(standIn, '/interrupt')).toBe(1);
  });
});

describe('events', () => {
  async function opened(options: Partial<ComfyUIOptions> = {}) {
    const [adapter, standIn] = await started({ held: true }, { quietMs: 20_000, ...options });
    const ref = await adapter.submit(job(), { signal });
    const events = adapter.events!(ref, { signal })[Symbol.asyncIterator]();
    const next = async (): Promise<AdapterEvent> => {
      const event = await events.next();
      if (event.done === true) throw new Error('the stream ended');
      return event.value;
    };
    expect(await next()).toMatchObject({ snapshot: { status: 'queued', queuePosition: 1 } });
    return { adapter, standIn, ref, next, events };
  }

  it('tell progress, previews and outputs as they come, then the end', async () => {
    const { standIn, ref, next, events } = await opened();
    const say = (type: string, data: object): void =>
      standIn.say({ type, data: { prompt_id: ref['id'], ...data } });
    standIn.startNext();
    expect(await next()).toMatchObject({
      snapshot: { status: 'running', progress: { nodesDone: 0, nodesTotal: 2 } },
    });
    say('progress', { node: '1', value: 3, max: 4 });
    expect(await next()).toMatchObject({
      snapshot: { progress: { node: '1', nodeClass: 'EmptyImage', step: 3, steps: 4, value: 0.375 } },
    });
    standIn.say(Buffer.concat([Buffer.of(0, 0, 0, 1, 0, 0, 0, 2), picture]));
    expect(await next()).toEqual({
      type: 'preview',
      node: '1',
      contentType: 'image/png',
      bytes: Buffer.from(picture),
    });
    say('executed', {
      node: '2',
      output: { images: [{ filename: '2_00001_.png', subfolder: '', type: 'output' }] },
    });
    expect(await next()).toEqual({ type: 'output', nodeId: '2', name: '2_00001_.png' });
    standIn.runNext();
    const rest: AdapterEvent[] = [];
    for (let event = await events.next(); event.done !== true; event = await events.next())
      rest.push(event.value);
    expect(rest.filter(({ type }) => type === 'output')).toEqual([]);
    expect(rest.at(-1)).toMatchObject({ snapshot: { status: 'succeeded', outputs: [{ nodeId: '2' }] } });
  });

  it('say nothing of other jobs, and pass over what they do not know', async () => {
    const { standIn, ref, next } = await opened();
    standIn.say({ type: 'progress', data: { prompt_id: 'other', node: '1', value: 1, max: 2 } });
    standIn.say({ type: 'novelty', data: { prompt_id: ref['id'] } });
    standIn.say({ type: 'progress', data: { prompt_id: ref['id'], node: 7 } });
    standIn.say(Buffer.from('no json at all'));
    standIn.say({ type: 'progress', data: { prompt_id: ref['id'], node: '1', value: 2, max: 2 } });
    expect(await next()).toMatchObject({ snapshot: { progress: { step: 2 } } });
  });

  it('find the end that was lost with a connection', async () => {
    const { standIn, next } = await opened();
    standIn.dropSockets();
    standIn.runNext();
    const events = [await next(), await next()];
    expect(events).toMatchObject([{ type: 'output' }, { snapshot: { status: 'succeeded' } }]);
  });

  it('find the end when the server cannot be heard at all', async () => {
    const standIn = await comfyuiStandIn({ picture, held: true });
    cleanups.push(() => standIn[Symbol.asyncDispose]());
    const adapter = adapterOf(standIn.url, { quietMs: 5 });
    const ref = await adapter.submit(job(), { signal });
    const statuses: string[] = [];
    for await (const event of adapter.events!(ref, { signal })) {
      if (event.type === 'snapshot') statuses.push(event.snapshot.status);
      if (statuses.length === 2) {
        standIn.dropSockets();
        standIn.runNext();
      }
    }
    expect(statuses.at(-1)).toBe('succeeded');
  });

  it('end with the reason of their signal', async () => {
    const [adapter] = await started({ held: true });
    const ref = await adapter.submit(job(), { signal });
    const stop = new AbortController();
    const following = (async () => {
      for await (const _ of adapter.events!(ref, { signal: stop.signal })) stop.abort(new Error('enough'));
    })();
    await expect(following).rejects.toThrow('enough');
  });

  it('share one connection', async () => {
    const [adapter, standIn] = await started({ held: true });
    const refs = await Promise.all([1, 2, 3].map(() => adapter.submit(job(), { signal })));
    const all = Promise.all(refs.map((ref) => Array.fromAsync(adapter.events!(ref, { signal }))));
    for (const _ of refs) standIn.runNext();
    for (const events of await all)
      expect(events.at(-1)).toMatchObject({ snapshot: { status: 'succeeded' } });
    const clients = new Set(
      standIn.received
        .filter(({ path }) => path === '/prompt')
        .map(({ body }) => (JSON.parse(body.toString()) as { client_id: string }).client_id),
    );
    expect(clients.size).toBe(1);
  });
});

describe('downloads', () => {
  it('ask for the file in its subfolder', async () => {
    const [adapter, standIn] = await started();
    const ref = await adapter.submit(job(), { signal });
    const [output] = (await adapter.status(ref, { signal })).outputs;
    expect(await output!.bytes()).toEqual(Buffer.from(picture));
    expect(standIn.received.at(-1)?.path).toBe('/view?filename=2_00001_.png&subfolder=sub%2Fdir&type=output');
  });
});

describe('reported outputs', () => {
  it.each([
    [
      { images: [{ filename: 'a.png', subfolder: 's', type: 'output' }], animated: [true] },
      'image',
      'image/png',
    ],
    [
      { gifs: [{ filename: 'a.mp4', subfolder: '', type: 'output', format: 'video/h264-mp4' }] },
      'video',
      'video/mp4',
    ],
    [{ video: [{ filename: 'a', subfolder: '', type: 'output' }] }, 'video', 'application/octet-stream'],
    [{ audio: [{ filename: 'a.flac' }] }, 'audio', 'audio/flac'],
    [{ '3d': [{ filename: 'a.glb', subfolder: '3d', type: 'output' }] }, 'file', 'model/gltf-binary'],
    [
      { latents: [{ filename: 'a.latent', subfolder: '', type: 'output' }] },
      'latent',
      'application/octet-stream',
    ],
    [{ text: ['hello'] }, 'text', 'text/plain; charset=utf-8'],
  ])('of %j are %s, %s', (report, kind, contentType) => {
    expect(reportedOutputs('3:1', report)).toMatchObject([{ nodeId: '3:1', kind, contentType }]);
  });

  it.each([
    [{ images: [{ filename: 'a.png', subfolder: '', type: 'temp' }] }],
    [{ result: ['model.glb', null] }],
    [{ images: 'none', other: [1, null, {}] }],
  ])('of %j are none', (report) => {
    expect(reportedOutputs('3', report)).toEqual([]);
  });
});

describe('progress', () => {
  it('never falls and never exceeds 1, whatever is said', () => {
    const id = fc.constantFrom('1', '2', '3', 'x');
    const message = fc.oneof(
      fc.record({ type: fc.constant('cached' as const), nodes: fc.array(id) }),
      fc.record({ type: fc.constantFrom('executing' as const, 'finished' as const), node: id }),
      fc.record({ type: fc.constant('step' as const), node: id, value: fc.integer(), max: fc.integer() }),
    );
    fc.assert(
      fc.property(fc.array(message, { maxLength: 40 }), (messages) => {
        const progress = new RunProgress({
          '1': { class_type: 'A', inputs: {} },
          '2': { class_type: 'B', inputs: { a: ['1', 0] } },
          '3': { class_type: 'C', inputs: { b: ['2', 0], lost: ['9', 0] } },
        });
        let last = 0;
        for (const each of messages) {
          if (each.type === 'cached') progress.cached(each.nodes);
          else if (each.type === 'step') progress.step(each.node, each.value, each.max);
          else progress[each.type](each.node);
          const { value, nodesDone, nodesTotal } = progress.snapshot();
          expect(value).toBeGreaterThanOrEqual(last);
          expect(value).toBeLessThanOrEqual(1);
          expect(nodesDone).toBeLessThanOrEqual(nodesTotal);
          last = value;
        }
      }),
    );
  });
});

describe('binary messages', () => {
  it('with metadata tell job and node', () => {
    const metadata = Buffer.from(JSON.stringify({ prompt_id: 'p', node_id: '3', image_type: 'image/png' }));
    const head = Buffer.alloc(8);
    head.writeUInt32BE(4, 0);
    head.writeUInt32BE(metadata.length, 4);
    const data = new Uint8Array(Buffer.concat([head, metadata, Buffer.from('picture')])).buffer;
    expect(binaryMessage(data)).toEqual({
      type: 'preview',
      promptId: 'p',
      nodeId: '3',
      contentType: 'image/png',
      bytes: Buffer.from('picture'),
    });
  });

  it('of any content never throw', () => {
    const head = fc.constantFrom(Buffer.of(0, 0, 0, 4), Buffer.of(0, 0, 0, 1), Buffer.of());
    fc.assert(
      fc.property(head, fc.uint8Array({ maxLength: 40 }), (start, rest) => {
        binaryMessage(new Uint8Array(Buffer.concat([start, rest])).buffer);
      }),
    );
  });
});

it('a slow reader gets every output, and of the rest the newest', async () => {
  const channel = new EventChannel();
  const snapshot = (step: number): AdapterEvent => ({
    type: 'snapshot',
    snapshot: { status: 'running', queuePosition: step, progress: undefined },
  });
  for (let step = 0; step < 1_000; step += 1) {
    channel.push(snapshot(step));
    if (step % 250 === 0) channel.push({ type: 'output', nodeId: String(step), name: 'a' });
  }
  channel.pause('ended');
  const heard: unknown[] = [];
  for (let event = await channel.next(5, signal); event !== 'quiet'; event = await channel.next(5, signal))
    heard.push(typeof event === 'string' ? event : event.type === 'output' ? event.nodeId : event);
  expect(heard).toEqual(['0', '250', '500', '750', snapshot(999), 'ended']);
});
