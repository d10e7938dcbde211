import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { type EndpointDefinition, parseApiWorkflow, parseEndpointConfig } from '@ryla/workflow';
import { afterEach, describe, expect, expectTypeOf, it } from 'vitest';

import type { Adapter } from '../adapter.ts';
import { modal } from '../adapters/modal.ts';
import { runpod } from '../adapters/runpod.ts';
import { ComfyUIServiceError } from '../errors.ts';
import type { JobEvent, JobSnapshot } from '../job.ts';
import type { JobOutput } from '../output.ts';
import { type Clock, systemClock } from '../clock.ts';
import { comfyApiStandIn } from '../testing/comfy-api-stand-in.ts';
import { type HttpStandIn, httpStandIn, json } from '../testing/http-stand-in.ts';
import { greyPng } from '../testing/png.ts';
import { runpodStandIn } from '../testing/runpod-stand-in.ts';
import { createComfyUIService } from './comfyui-service.ts';

const picture = greyPng(8, 8);
const workflow = parseApiWorkflow({
  '1': { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 0 } },
  '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'x' } },
});
const endpoint: EndpointDefinition<{ readonly width?: number }, 'picture'> = {
  config: parseEndpointConfig({
    name: 'grey',
    title: 'Grey',
    description: 'A grey picture.',
    workflow: 'workflow.json',
    inputs: { width: { type: 'integer', node: '1', field: 'width', default: 8 } },
    outputs: { picture: { node: '2', type: 'image' } },
    comfyui: { version: '0.3.64' },
    providers: { modal: { auth: 'bearer' }, runpod: {} },
  }),
  workflow,
};
/** No waiting, but the delays that were asked for. */
function quickClock(): Clock & { readonly slept: number[] } {
  const slept: number[] = [];
  const sleep = async (milliseconds: number): Promise<void> => {
    slept.push(milliseconds);
    await Promise.resolve();
  };
  return { ...systemClock, random: () => 0, sleep, slept };
}

const running: JobSnapshot = {
  status: 'running',
  queuePosition: undefined,
  progress: undefined,
  outputs: [],
  error: undefined,
  timings: { queueMs: null, coldStartMs: null, executionMs: null },
};

function scripted(changes: Partial<Adapter>): Adapter {
  return {
    submit: () => Promise.resolve({ id: 'remote' }),
    status: () => Promise.resolve({ ...running, status: 'succeeded' }),
    cancel: () => Promise.resolve(),
    close: () => Promise.resolve(),
    ...changes,
  };
}

const standIns: HttpStandIn[] = [];
async function kept(standIn: Promise<HttpStandIn>): Promise<HttpStandIn> {
  standIns.push(await standIn);
  return standIn;
}
afterEach(async () => {
  for (const standIn of standIns.splice(0)) await standIn[Symbol.asyncDispose]();
});

describe('the service', () => {
  it.each(['modal', 'runpod'] as const)('runs a typed endpoint on %s', async (backend) => {
    const api = await kept(comfyApiStandIn({ token: 't', picture }));
    const pod = await kept(runpodStandIn({ apiKey: 'k', picture }));
    await using service = createComfyUIService({
      adapters: {
        modal: modal({ baseUrl: api.url, auth: { type: 'bearer', token: 't' } }),
        runpod: runpod({ apiUrl: pod.url, endpointId: 'e', apiKey: 'k' }),
      },
    });
    const result = await service.run(endpoint, { width: 16 }, { backend });
    expect(result.named.picture?.nodeId).toBe('2');
    expect(await result.named.picture?.bytes()).toEqual(Buffer.from(picture));
    expect(result.timings).toMatchObject({ coldStartMs: 0, executionMs: 2 });
    const sent = [...api.received, ...pod.received].find(({ method }) => method === 'POST');
    expect(sent?.body.toString()).toContain('"width":16');
  });

  it('types inputs, outputs and backends by the endpoint', async () => {
    await using service = createComfyUIService({ adapters: { only: scripted({}) } });
    expectTypeOf((await service.run(endpoint, {})).named).toEqualTypeOf<
      Readonly<Partial<Record<'picture', JobOutput>>>
    >();
    // @ts-expect-error: the endpoint has no such input
    const wrongInput = service.run(endpoint, { widht: 16 });
    await expect(wrongInput).rejects.toMatchObject({ code: 'unknown_input', endpoint: 'grey' });
    // @ts-expect-error: there is no such backend
    await expect(service.run(endpoint, {}, { backend: 'other' })).rejects.toMatchObject({
      code: 'unknown_backend',
    });
  });

  it('tells every change once and the end once, over streams that break', async () => {
    let opened = 0;
    let asked = 0;
    const clock = quickClock();
    const progress = { value: 0.5, nodesDone: 1, nodesTotal: 2, node: '1', nodeClass: 'EmptyImage' };
    const adapter = scripted({
      async *events() {
        opened += 1;
        yield { type: 'snapshot', snapshot: { ...running, status: 'queued' } };
        yield {
          type: 'snapshot',
          snapshot: { ...running, progress: { ...progress, step: undefined, steps: undefined } },
        };
        yield { type: 'output', nodeId: '2', name: 'a.png' };
        await Promise.resolve();
        throw new ComfyUIServiceError('backend_unreachable', 'cut', { retryable: true });
      },
      status: () => Promise.resolve((asked += 1) < 3 ? running : { ...running, status: 'succeeded' }),
    });
    await using service = createComfyUIService({ adapters: { adapter }, clock });
    const handle = await service.submitWorkflow({ workflow });
    const events: JobEvent[] = [];
    for await (const event of handle.events()) events.push(event);
    expect(opened).toBeGreaterThan(1);
    const count = (type: JobEvent['type']): number => events.filter((event) => event.type === type).length;
    expect(count('output')).toBe(1);
    expect(count('finished')).toBe(1);
    expect(events.at(-1)).toMatchObject({ type: 'finished', status: 'succeeded' });
  });

  it('gives an error that will not pass its job and backend, streams or not', async () => {
    const refused = new ComfyUIServiceError('unauthorized', 'refused');
    const adapter = scripted({
      async *events() {
        await Promise.resolve();
        throw refused;
      },
      status: () => Promise.reject(refused),
    });
    await using service = createComfyUIService({ adapters: { here: adapter } });
    const handle = await service.submitWorkflow({ workflow });
    await expect(handle.result()).rejects.toMatchObject({
      code: 'unauthorized',
      backend: 'here',
      jobId: handle.id,
    });
  });

  it('cancels the job when run is aborted', async () => {
    const stop = new AbortController();
    const canceled: unknown[] = [];
    const adapter = scripted({
      status: () => {
        stop.abort(new Error('enough'));
        return Promise.resolve(running);
      },
      cancel: (ref) => {
        canceled.push(ref);
        return Promise.resolve();
      },
    });
    await using service = createComfyUIService({ adapters: { adapter } });
    await expect(service.run(endpoint, {}, { signal: stop.signal })).rejects.toThrow('enough');
    expect(canceled).toEqual([{ id: 'remote' }]);
  });

  it('tells those who wait that it was closed', async () => {
    const service = createComfyUIService({
      adapters: { adapter: scripted({ status: () => Promise.resolve(running) }) },
    });
    const handle = await service.submitWorkflow({ workflow });
    const waiting = handle.wait();
    await Promise.all([expect(waiting).rejects.toMatchObject({ code: 'service_closed' }), service.close()]);
    await service.close();
  });
});

describe('a lost answer to a submission', () => {
  it('is looked up on Modal: the job goes on and is sent once', async () => {
    const api = await kept(comfyApiStandIn({ token: 't', picture }));
    const inner = modal({ baseUrl: api.url, auth: { type: 'bearer', token: 't' } });
    const adapter: Adapter = {
      ...inner,
      async submit(job, options) {
        await inner.submit(job, options);
        throw new ComfyUIServiceError('backend_unreachable', 'reset', {
          accepted: 'unknown',
          retryable: true,
        });
      },
    };
    await using service = createComfyUIService({ adapters: { adapter }, clock: quickClock() });
    const jobId = randomUUID();
    await service.run(endpoint, {}, { jobId });
    const posts = api.received.filter(({ method }) => method === 'POST');
    expect(posts.map(({ headers }) => headers['ryla-job-id'])).toEqual([jobId]);
    expect(posts[0]?.headers['idempotency-key']).toBe(jobId);
  });

  it('is sent again with the same id when Modal never took it', async () => {
    const ids: string[] = [];
    const adapter = scripted({
      submit: ({ jobId }) => {
        ids.push(jobId);
        if (ids.length > 1) return Promise.resolve({ id: jobId });
        const context = { accepted: 'unknown', retryable: true } as const;
        return Promise.reject(new ComfyUIServiceError('backend_unreachable', 'reset', context));
      },
      lookup: () => Promise.resolve(undefined),
    });
    await using service = createComfyUIService({ adapters: { adapter }, clock: quickClock() });
    await service.run(endpoint, {});
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(1);
  });

  it('is an error on RunPod and never sent again', async () => {
    const pod = await kept(httpStandIn((_request, response) => response.destroy()));
    await using service = createComfyUIService({
      adapters: { runpod: runpod({ apiUrl: pod.url, endpointId: 'e', apiKey: 'k' }) },
      clock: quickClock(),
    });
    await expect(service.run(endpoint, {})).rejects.toMatchObject({
      code: 'submission_unknown',
      backend: 'runpod',
    });
    expect(pod.received).toHaveLength(1);
  });

  it('is no matter after 429: RunPod took nothing, so it is sent again when asked to', async () => {
    const clock = quickClock();
    let calls = 0;
    const pod = await kept(
      httpStandIn((_request, response) => {
        calls += 1;
        if (calls === 1) json(response, 429, {}, { 'retry-after': '0.05' });
        else json(response, 200, { id: 'r', status: 'IN_QUEUE' });
      }),
    );
    await using service = createComfyUIService({
      adapters: { runpod: runpod({ apiUrl: pod.url, endpointId: 'e', apiKey: 'k' }) },
      clock,
    });
    await service.submit(endpoint, {});
    expect(clock.slept).toEqual([50]);
  });
});

describe('saving an output', () => {
  it('leaves nothing behind when it is aborted, and a whole file otherwise', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'business-'));
    try {
      const api = await kept(comfyApiStandIn({ token: 't', picture }));
      await using service = createComfyUIService({
        adapters: { modal: modal({ baseUrl: api.url, auth: { type: 'bearer', token: 't' } }) },
      });
      const output = (await service.run(endpoint, {})).named.picture!;
      const file = path.join(folder, 'a.png');
      await expect(output.save(file, { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no');
      expect(await readdir(folder)).toEqual([]);
      await output.save(file);
      expect(await readFile(file)).toEqual(Buffer.from(picture));
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
