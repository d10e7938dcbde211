import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { type EndpointDefinition, parseApiWorkflow, parseEndpointConfig } from '@ryla/workflow';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { memory, type MemoryAdapter, type MemoryOptions } from '../adapters/memory.ts';
import { ComfyUIServiceError } from '../errors.ts';
import type { JobEvent, JobMetrics, JobSnapshot } from '../job.ts';
import { systemClock } from '../clock.ts';
import type { JobStore } from '../store/job-store.ts';
import { memoryJobStore } from '../store/memory-job-store.ts';
import { sqliteJobStore } from '../store/sqlite-job-store.ts';
import { httpStandIn } from '../testing/http-stand-in.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { createWebhookSecret, verifyWebhook } from '../webhooks/standard-webhooks.ts';
import { directoryArtifacts } from './artifacts.ts';
import { type ComfyUIServiceOptions, createComfyUIService, QUIET_TAG } from './comfyui-service.ts';
import { attemptId } from './stored-job.ts';

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
    gpu: ['L40S'],
  }),
  workflow,
};
const unreachable = new ComfyUIServiceError('backend_unreachable', 'refused', {
  accepted: 'no',
  retryable: true,
});
const workerLost = new ComfyUIServiceError('worker_lost', 'it died', { retryable: true });

const RUNNING: JobSnapshot = {
  status: 'running',
  queuePosition: undefined,
  progress: undefined,
  outputs: [],
  error: undefined,
  timings: { queueMs: null, coldStartMs: null, executionMs: null },
};

/** Waits that take no time. */
const quick = {
  ...systemClock,
  random: () => 0,
  sleep: async (_: number, signal: AbortSignal): Promise<void> => {
    await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
  },
};

function service<Name extends string>(
  adapters: Record<Name, MemoryAdapter>,
  options: Partial<ComfyUIServiceOptions<Name>> = {},
) {
  return createComfyUIService<Name>({ adapters, clock: quick, ...options });
}

function flat(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'engine-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

function database(): Promise<JobStore> {
  return sqliteJobStore({ path: path.join(folder, 'jobs.db') });
}

describe('where a job goes', () => {
  it('is the next backend of its route when the first surely did not take it', async () => {
    const first = memory({ outcome: { type: 'refuse', error: unreachable } });
    const second = memory();
    await using jobs = service(
      { first, second },
      {
        routes: {
          default: [
            { backend: 'first', weight: 1 },
            { backend: 'second', weight: 0, failover: true },
          ],
        },
      },
    );
    const handle = await jobs.submit(endpoint, {});
    expect(handle.backend).toBe('second');
    expect((await handle.result()).backend).toBe('second');
    expect(first.received.length).toBeGreaterThan(1);
    expect(second.executions(handle.id)).toBe(1);
  });

  it('is never another backend when the first may have taken it', async () => {
    const first = memory({ outcome: { type: 'succeed', answer: 'lost' }, lookup: false });
    const second = memory();
    await using jobs = service(
      { first, second },
      {
        routes: {
          default: [
            { backend: 'first', weight: 1 },
            { backend: 'second', weight: 0, failover: true },
          ],
        },
      },
    );
    await expect(jobs.submit(endpoint, {})).rejects.toMatchObject({ code: 'submission_unknown' });
    expect(second.received).toEqual([]);
    expect(first.received).toHaveLength(1);
  });

  it('is nowhere else when the job itself is wrong', async () => {
    const wrong = new ComfyUIServiceError('invalid_workflow', 'no such node', {
      accepted: 'no',
      nodeId: '1',
    });
    const first = memory({ outcome: { type: 'refuse', error: wrong } });
    const second = memory();
    await using jobs = service(
      { first, second },
      {
        routes: {
          default: [
            { backend: 'first', weight: 1 },
            { backend: 'second', weight: 1 },
          ],
        },
      },
    );
    const jobId = randomUUID();
    const submitted = jobs.submit(endpoint, {}, { jobId, backend: 'first' });
    await expect(submitted).rejects.toMatchObject({ code: 'invalid_workflow', nodeId: '1', jobId });
    expect(second.received).toEqual([]);
    await expect(jobs.job(jobId).result()).rejects.toMatchObject({ code: 'invalid_workflow', nodeId: '1' });
  });

  it('follows the routes of the moment; a job keeps its backend', async () => {
    const [old, fresh] = [memory({ outcome: { type: 'never' } }), memory()];
    await using jobs = service({ old, fresh });
    const before = await jobs.submit(endpoint, {});
    jobs.routes.set('grey', [{ backend: 'fresh', weight: 1 }]);
    const after = await jobs.submit(endpoint, {});
    expect([before.backend, after.backend]).toEqual(['old', 'fresh']);
    await before.cancel();
    expect(old.canceled).toHaveLength(1);
    expect((await before.wait()).status).toBe('canceled');
  });
});

describe('the same id', () => {
  it('is the same job, and another payload is refused', async () => {
    const only = memory();
    await using jobs = service({ only });
    const jobId = randomUUID();
    const [one, two] = await Promise.all([
      jobs.submit(endpoint, { width: 16 }, { jobId }),
      jobs.submit(endpoint, { width: 16 }, { jobId }),
    ]);
    await Promise.all([one.result(), two.result()]);
    expect(only.executions(jobId)).toBe(1);
    await expect(jobs.submit(endpoint, { width: 32 }, { jobId })).rejects.toMatchObject({
      code: 'idempotency_conflict',
      jobId,
    });
  });
});

describe('a machine that dies', () => {
  it('is replaced by another run of the same job, once', async () => {
    const only = memory({
      outcome: ({ job }) => (job.jobId === jobId ? { type: 'fail', error: workerLost } : { type: 'succeed' }),
    });
    const jobId = randomUUID();
    await using jobs = service({ only });
    const handle = await jobs.submit(endpoint, {}, { jobId });
    const events: JobEvent[] = [];
    for await (const event of handle.events()) events.push(event);
    expect(events.filter(({ type }) => type === 'restarted')).toMatchObject([
      { attempt: 2, error: { code: 'worker_lost' } },
    ]);
    expect(events.filter(({ type }) => type === 'finished')).toMatchObject([{ status: 'succeeded' }]);
    expect(await handle.result()).toMatchObject({ jobId, attempts: 2 });
    expect(only.received.map(({ job }) => job.jobId)).toEqual([jobId, attemptId(jobId, 2)]);
  });

  it('fails the job when the next one dies too', async () => {
    const only = memory({ outcome: { type: 'fail', error: workerLost } });
    await using jobs = service({ only });
    const handle = await jobs.submit(endpoint, {});
    await expect(handle.result()).rejects.toMatchObject({ code: 'worker_lost', jobId: handle.id });
    expect(only.received).toHaveLength(2);
    expect((await handle.record()).attempt).toBe(2);
  });

  it('is not replaced when the job is canceled at that moment: it ends', async () => {
    const only = memory({ outcome: { type: 'fail', error: workerLost, afterMs: 50 } });
    const store = memoryJobStore();
    let cancel = (): Promise<void> => Promise.resolve();
    const payload = async (id: string): Promise<string | undefined> => {
      await cancel();
      return store.payload(id);
    };
    await using jobs = service({ only }, { store: { ...store, payload } });
    const handle = await jobs.submit(endpoint, {});
    cancel = () => handle.cancel();
    expect((await handle.wait({ signal: AbortSignal.timeout(20_000) })).status).toBe('failed');
    expect(only.received).toHaveLength(1);
  });

  it('is not replaced when the job was at fault', async () => {
    const error = new ComfyUIServiceError('node_execution_error', 'bad', { nodeId: '1' });
    const only = memory({ outcome: { type: 'fail', error } });
    await using jobs = service({ only });
    await expect(jobs.run(endpoint, {})).rejects.toMatchObject({ code: 'node_execution_error', nodeId: '1' });
    expect(only.received).toHaveLength(1);
  });
});

describe('a service that was killed', () => {
  /** A job as a service leaves it that died between two steps; nobody holds it. */
  async function abandoned(
    step: 'intended' | 'sent' | 'submitted',
    adapter: MemoryAdapter,
    payload = true,
  ): Promise<string> {
    const jobId = randomUUID();
    const store = await database();
    const stored = JSON.stringify({ workflow, files: [] });
    const { job } = await store.create({
      id: jobId,
      endpoint: 'grey',
      backend: 'only',
      payloadHash: 'hash',
      ...(payload ? { payload: stored } : {}),
    });
    if (step !== 'intended') {
      const submission = { jobId, endpoint: 'grey', workflow, files: [] };
      const ref = await adapter.submit(submission, { signal: AbortSignal.timeout(20_000) });
      if (step === 'submitted')
        await store.update(jobId, job.version, { submission: 'submitted', providerRef: ref });
    }
    await store.close();
    return jobId;
  }

  it.each(['intended', 'sent', 'submitted'] as const)(
    'loses no job that was %s, and runs none twice',
    async (step) => {
      const only = memory();
      const jobId = await abandoned(step, only);
      await using jobs = service({ only }, { store: await database() });
      await jobs.recover();
      expect(await jobs.job(jobId, endpoint).result()).toMatchObject({ jobId, attempts: 1 });
      expect(only.executions(jobId)).toBe(1);
    },
  );

  it('declares a job lost, with the reason, that nobody can look up or send again', async () => {
    const only = memory({ lookup: false });
    const sent = await abandoned('sent', only);
    await using jobs = service({ only }, { store: await database() });
    await expect(jobs.job(sent).result()).rejects.toMatchObject({ code: 'job_lost', jobId: sent });
    expect(only.executions(sent)).toBe(1);
    expect((await jobs.job(sent).record()).status).toBe('lost');
  });

  it('declares a job lost that never arrived and whose inputs are gone', async () => {
    const only = memory();
    const jobId = await abandoned('intended', only, false);
    await using jobs = service({ only }, { store: await database() });
    await expect(jobs.job(jobId).result()).rejects.toThrow('inputs are not stored');
  });

  it('waits for a webhook where one may tell what became of the submission', async () => {
    const inner = memory({ lookup: false });
    const only: MemoryAdapter = {
      ...inner,
      fromWebhook: (envelope) => ({ ref: { id: String(envelope) }, snapshot: RUNNING }),
    };
    const jobId = await abandoned('sent', only);
    const webhooks = {
      incomingUrl: 'https://app.example/webhooks',
      incomingSecrets: [createWebhookSecret()],
    };
    await using jobs = service({ only }, { store: await database(), webhooks });
    await jobs.recover();
    await jobs.notice({ jobId, envelope: `${jobId}-1` });
    expect(await jobs.job(jobId).result()).toMatchObject({ jobId });
    expect(only.executions(jobId)).toBe(1);
  });
});

describe('a webhook', () => {
  it('is taken in place of a look when it is about our submission, and only then', async () => {
    let looks = 0;
    const inner = memory({ outcome: { type: 'never' } });
    const only: MemoryAdapter = {
      ...inner,
      status: () => {
        looks += 1;
        return Promise.resolve(RUNNING);
      },
      fromWebhook: (envelope) => ({
        ref: { id: String(envelope) },
        snapshot: { ...RUNNING, status: 'succeeded' },
      }),
    };
    const clock = new ManualClock();
    const jobs = createComfyUIService({ adapters: { only }, clock });
    const handle = await jobs.submit(endpoint, {});
    await jobs.notice({ jobId: handle.id, envelope: 'another submission' });
    await clock.pass(10);
    expect((await handle.record()).status).not.toBe('succeeded');
    const before = looks;
    await jobs.notice({ jobId: handle.id, envelope: handle.id });
    await handle.wait();
    expect(looks).toBe(before);
    expect((await handle.record()).status).toBe('succeeded');
    await jobs.close();
  });
});

describe('two services on one store', () => {
  it('both know the job; it is sent and ended once', async () => {
    const only = memory();
    await using one = service({ only }, { store: await database() });
    await using two = service({ only }, { store: await database() });
    const handle = await one.submit(endpoint, {});
    const [mine, theirs] = await Promise.all([handle.result(), two.job(handle.id, endpoint).result()]);
    expect(theirs.outputs.map(({ name }) => name)).toEqual(mine.outputs.map(({ name }) => name));
    expect(only.executions(handle.id)).toBe(1);
    const { jobs: listed } = await two.jobs.list({ endpoint: 'grey' });
    expect(listed).toMatchObject([{ id: handle.id, status: 'succeeded' }]);
  });
});

describe('a result', () => {
  it('is kept as an artifact when the backend has forgotten it', async () => {
    const only = memory();
    const artifacts = directoryArtifacts(path.join(folder, 'artifacts'));
    const made = await (async () => {
      await using jobs = service({ only }, { store: await database(), artifacts });
      return await jobs.run(endpoint, {});
    })();
    const other = memory();
    await using jobs = service({ only: other }, { store: await database(), artifacts });
    const again = await jobs.job(made.jobId, endpoint).result();
    expect(await again.named.picture?.bytes()).toEqual(await made.named.picture?.bytes());
  });

  it('has expired when neither has it', async () => {
    const made = await (async () => {
      await using jobs = service({ only: memory() }, { store: await database() });
      return await jobs.run(endpoint, {});
    })();
    await using jobs = service({ only: memory() }, { store: await database() });
    await expect(jobs.job(made.jobId).result()).rejects.toMatchObject({ code: 'result_expired' });
  });

  it('of a job that nobody knows is an error', async () => {
    await using jobs = service({ only: memory() });
    await expect(jobs.job(randomUUID()).result()).rejects.toMatchObject({ code: 'unknown_job' });
    await expect(jobs.job('no id').status()).rejects.toMatchObject({ code: 'unknown_job' });
  });
});

describe('giving up', () => {
  it('while the job is being sent cancels it wherever it arrives', async () => {
    const stop = new AbortController();
    const inner = memory({ outcome: { type: 'never' } });
    const adapter: MemoryAdapter = {
      ...inner,
      async submit(job, options) {
        const ref = await inner.submit(job, options);
        stop.abort(new Error('enough'));
        await new Promise((resolve) => setImmediate(resolve));
        return ref;
      },
    };
    const jobId = randomUUID();
    await using jobs = service({ only: adapter });
    await expect(jobs.run(endpoint, {}, { jobId, signal: stop.signal })).rejects.toThrow('enough');
    expect((await jobs.job(jobId).wait()).status).toBe('canceled');
    expect(inner.canceled).toHaveLength(1);
  });
});

describe('money', () => {
  it('is reckoned by card and time, and summed', async () => {
    const inner = memory();
    const only: MemoryAdapter = {
      ...inner,
      provider: 'modal',
      async status(ref, options) {
        const snapshot = await inner.status(ref, options);
        return { ...snapshot, timings: { queueMs: 1, coldStartMs: 0, executionMs: 10_000 } };
      },
    };
    await using jobs = service({ only });
    expect((await jobs.run(endpoint, {})).cost).toMatchObject({ usd: 0.00542, gpu: 'L40S' });
    await jobs.run(endpoint, {});
    expect(await jobs.costs({ by: 'endpoint' })).toMatchObject([{ key: 'grey', jobs: 2, usd: 0.01084 }]);
  });

  it('is what the card that ran it costs, as many of them as the endpoint asks for', async () => {
    const metrics: JobMetrics = {
      queueMs: 5,
      bootMs: 900,
      modelLoadMs: 400,
      samplingMs: 9_000,
      encodeMs: 300,
      uploadMs: 20,
      gpu: 'NVIDIA A100-SXM4-80GB',
      peakMemoryBytes: 21_000_000_000,
    };
    const inner = memory({ outcome: { type: 'succeed', metrics } });
    const only: MemoryAdapter = {
      ...inner,
      provider: 'modal',
      async status(ref, options) {
        const snapshot = await inner.status(ref, options);
        return { ...snapshot, timings: { queueMs: 1, coldStartMs: 0, executionMs: 10_000 } };
      },
    };
    const store = await database();
    await using jobs = service({ only }, { store });
    const on = { ...endpoint, config: { ...endpoint.config, gpu: ['L40S:2'] } };
    const result = await jobs.run(on, {});
    expect(result).toMatchObject({ metrics, cost: { usd: 0.01388, gpu: 'A100-80GB' } });
    const stored = await store.get(result.jobId);
    expect(stored).toMatchObject({ metrics, gpu: 'L40S:2' });
    expect(await jobs.job(result.jobId).status()).toMatchObject({ metrics, gpu: metrics.gpu });
  });

  it('is not spent beyond a day’s limit', async () => {
    const inner = memory();
    const only: MemoryAdapter = {
      ...inner,
      provider: 'modal',
      async status(ref, options) {
        const snapshot = await inner.status(ref, options);
        return { ...snapshot, timings: { queueMs: 1, coldStartMs: 0, executionMs: 10_000 } };
      },
    };
    await using jobs = service({ only }, { usdPerDay: { grey: 0.005 } });
    await jobs.run(endpoint, {});
    await expect(jobs.submit(endpoint, {})).rejects.toMatchObject({
      code: 'spend_limit_reached',
      endpoint: 'grey',
    });
    expect(only.received).toHaveLength(1);
  });
});

describe('money for a card without a price', () => {
  /** A backend of RunPod's that tells how long a job ran, and nothing of its card. */
  function billed(): MemoryAdapter {
    const inner = memory();
    return {
      ...inner,
      provider: 'runpod',
      async status(ref, options) {
        const snapshot = await inner.status(ref, options);
        return { ...snapshot, timings: { queueMs: 1, coldStartMs: 0, executionMs: 10_000 } };
      },
    };
  }
  const on = (...gpu: string[]): typeof endpoint => ({
    ...endpoint,
    config: { ...endpoint.config, gpu: gpu },
  });

  it('is counted at the provider’s dearest, and so it does not pass a limit by', async () => {
    const only = billed();
    await using jobs = service({ only }, { usdPerDay: { grey: 0.01 } });
    // T4 is not in RunPod's table; H100 is its dearest.
    expect((await jobs.run(on('T4'), {})).cost).toMatchObject({ usd: 0.0116, gpu: null });
    await expect(jobs.submit(on('T4'), {})).rejects.toMatchObject({ code: 'spend_limit_reached' });
    expect(only.received).toHaveLength(1);
  });

  it('is counted by the endpoint’s card after a restart too', async () => {
    const first = service({ only: memory({ outcome: { type: 'never' } }) }, { store: await database() });
    const { id } = await first.submit(on('L40S:2'), {});
    await first.close();
    const ended: JobSnapshot = {
      ...RUNNING,
      status: 'succeeded',
      timings: { queueMs: 1, coldStartMs: 0, executionMs: 10_000 },
    };
    const only: MemoryAdapter = { ...billed(), status: () => Promise.resolve(ended) };
    await using second = service({ only }, { store: await database() });
    await second.recover();
    expect((await second.job(id).result()).cost).toMatchObject({ usd: 0.0106, gpu: 'L40S' });
  });
});

describe('a job that could not be taken up or finished', () => {
  it('is taken up again in the next round, and whoever waits for it hears its end', async () => {
    const jobId = randomUUID();
    const store = memoryJobStore();
    await store.create({
      id: jobId,
      endpoint: 'grey',
      backend: 'only',
      payloadHash: 'hash',
      payload: JSON.stringify({ workflow, files: [] }),
    });
    let isDown = true;
    const back = memory();
    const flaky: MemoryAdapter = {
      ...back,
      lookup: (id, options) =>
        isDown
          ? Promise.reject(new ComfyUIServiceError('backend_error', 'no'))
          : (back.lookup?.(id, options) ?? Promise.resolve(undefined)),
    };
    await using second = service({ only: flaky }, { store });
    await second.recover();
    const waiting = second.job(jobId).wait();
    isDown = false;
    await second.recover();
    expect((await waiting).status).toBe('succeeded');
    expect(back.executions(jobId)).toBe(1);
  });

  it('because the store failed, is finished in the next round', async () => {
    const inner = memoryJobStore();
    let isDown = false;
    const store: JobStore = {
      ...inner,
      update: (...change) => (isDown ? Promise.reject(new Error('disk')) : inner.update(...change)),
    };
    const only = memory({ outcome: { type: 'succeed' } });
    await using jobs = service({ only }, { store });
    const handle = await jobs.submit(endpoint, {});
    isDown = true;
    await expect(handle.wait()).rejects.toThrow('disk');
    isDown = false;
    await jobs.recover();
    expect((await handle.wait()).status).toBe('succeeded');
    expect(only.executions(handle.id)).toBe(1);
  });
});

it('a problem that the application’s own function does not survive ends nothing', async () => {
  const warned: string[] = [];
  const warn = (warning: Error): void => void warned.push(warning.message);
  process.on('warning', warn);
  const store = memoryJobStore();
  const broken: JobStore = { ...store, renew: () => Promise.reject(new Error('disk')) };
  await using jobs = service(
    { only: memory() },
    {
      store: broken,
      onProblem: () => {
        throw new Error('from onProblem');
      },
    },
  );
  await jobs.run(endpoint, {});
  await expect.poll(() => warned).toContain('from onProblem');
  process.off('warning', warn);
});

describe('the application', () => {
  it('is told of every end, signed, and told again until it has heard', async () => {
    const secret = createWebhookSecret();
    const heard: { readonly headers: Headers; readonly body: string }[] = [];
    const application = await httpStandIn((request, response) => {
      heard.push({ headers: new Headers(flat(request.headers)), body: request.body.toString() });
      response.writeHead(heard.length === 1 ? 500 : 204).end();
    });
    const store = memoryJobStore();
    try {
      await using jobs = service(
        { only: memory() },
        {
          store,
          webhooks: {
            notifyUrl: `${application.url}/hook`,
            notifySecrets: [secret],
            allowPrivateNetworks: true,
          },
        },
      );
      const { jobId } = await jobs.run(endpoint, {});
      await expect.poll(() => heard.length).toBe(1);
      await expect.poll(async () => (await store.deliveries(jobId))[0]?.attempts).toBe(1);
      const [{ headers, body } = { headers: new Headers(), body: '' }] = heard;
      expect(verifyWebhook({ headers, body: Buffer.from(body) }, [secret], Date.now())).toMatchObject({
        ok: true,
      });
      expect(JSON.parse(body)).toMatchObject({ type: 'job.succeeded', data: { jobId } });

      const quiet = await jobs.submit(endpoint, {}, { notify: false, tags: ['mine'] });
      await quiet.result();
      expect((await quiet.record()).tags).toEqual(['mine', QUIET_TAG]);
      expect(await store.deliveries(quiet.id)).toEqual([]);
    } finally {
      await application[Symbol.asyncDispose]();
    }
  });

  it.each([
    [{ incomingUrl: 'https://app.example' }, 'invalid_configuration'],
    [{ notifyUrl: 'https://app.example' }, 'invalid_configuration'],
    [{ notifyUrl: 'https://app.example', notifySecrets: ['short'] }, 'invalid_configuration'],
    [{ notifyUrl: 'http://127.0.0.1/x', notifySecrets: [createWebhookSecret()] }, 'untrusted_url'],
  ])('must be reached by sound webhooks: %j', (webhooks, code) => {
    const make = (): unknown => service({ only: memory() }, { webhooks });
    expect(make).toThrow(expect.objectContaining({ code }));
  });

  it('can ask how all are', async () => {
    await using jobs = service({ only: memory() });
    expect(await jobs.health()).toMatchObject({
      ok: true,
      store: { ok: true },
      backends: { only: { ok: true, breaker: 'closed' } },
    });
  });
});

describe('a job that another service left', () => {
  it('is taken over once its lease has run out', async () => {
    const clock = new ManualClock();
    const store = memoryJobStore({ clock });
    const only = memory({ clock });
    const jobId = randomUUID();
    const payload = JSON.stringify({ workflow, files: [] });
    await store.create(
      { id: jobId, endpoint: null, backend: 'only', payloadHash: 'h', payload },
      { owner: 'dead', ms: 30_000 },
    );
    const jobs = createComfyUIService({ adapters: { only }, store, clock });
    await clock.pass(20_000);
    expect(only.received).toEqual([]);
    await clock.pass(30_000);
    expect(only.executions(jobId)).toBe(1);
    expect((await store.get(jobId))?.status).toBe('succeeded');
    await jobs.close();
  });
});

it('options without a backend are refused with the backends that there are', async () => {
  const options: MemoryOptions = {};
  await using jobs = service({ only: memory(options) });
  // @ts-expect-error: there is no such backend
  const submitted = jobs.submit(endpoint, {}, { backend: 'other' });
  await expect(submitted).rejects.toMatchObject({ code: 'unknown_backend' });
});
