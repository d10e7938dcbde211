import { afterEach, describe, expect, it } from 'vitest';

import { parseApiWorkflow } from '@ryla/workflow';

import type { InputBucket } from '../input-bucket.ts';
import type { JobSnapshot, JobSubmission } from '../job.ts';
import { type HttpStandIn, httpStandIn, json } from '../testing/http-stand-in.ts';
import { runpod } from './runpod.ts';
import { RUNPOD_LIMITS } from './runpod-limits.ts';

const { signal } = new AbortController();
const standIns: HttpStandIn[] = [];
afterEach(async () => {
  for (const standIn of standIns.splice(0)) await standIn[Symbol.asyncDispose]();
});

async function answering(status: number, body: object): Promise<[ReturnType<typeof runpod>, HttpStandIn]> {
  const standIn = await httpStandIn((_request, response) => json(response, status, body));
  standIns.push(standIn);
  return [runpod({ apiUrl: `${standIn.url}/v2`, endpointId: 'e', apiKey: 'k' }), standIn];
}

async function snapshot(envelope: object): Promise<JobSnapshot> {
  const [adapter] = await answering(200, { id: 'r', ...envelope });
  return adapter.status({ id: 'r' }, { signal });
}

function job(bytes: number): JobSubmission {
  const workflow = parseApiWorkflow({ '1': { class_type: 'LoadImage', inputs: { image: 'a.png' } } });
  const source = { name: 'a.png', bytes: new Uint8Array(bytes) };
  return { jobId: 'j', endpoint: undefined, workflow, files: [{ name: 'a.png', source }] };
}

describe('submission', () => {
  it('carries the workflow, the pictures and our job id', async () => {
    const [adapter, standIn] = await answering(200, { id: 'r', status: 'IN_QUEUE' });
    expect(await adapter.submit(job(3), { signal })).toEqual({ id: 'r' });
    const [request] = standIn.received;
    expect(request).toMatchObject({ method: 'POST', path: '/v2/e/run' });
    expect(request?.headers.authorization).toBe('Bearer k');
    expect(JSON.parse(request?.body.toString() ?? '')).toMatchObject({
      input: { jobId: 'j', workflow: { '1': {} }, images: [{ name: 'a.png', image: 'AAAA' }] },
    });
  });

  it('over the limit of POST /run is refused before anything is sent', async () => {
    const [adapter, standIn] = await answering(200, {});
    const submitted = adapter.submit(job(RUNPOD_LIMITS.runBodyBytes * 0.76), { signal });
    await expect(submitted).rejects.toMatchObject({ code: 'payload_too_large', jobId: 'j', accepted: 'no' });
    expect(standIn.received).toEqual([]);
  });

  it('tells where the end may be reported, and the trace that it belongs to', async () => {
    const [adapter, standIn] = await answering(200, { id: 'r', status: 'IN_QUEUE' });
    const told = { webhookUrl: 'https://app.example/hook', traceparent: '00-aa-bb-01' };
    await adapter.submit({ ...job(0), ...told }, { signal });
    expect(JSON.parse(standIn.received[0]?.body.toString() ?? '')).toMatchObject({
      webhook: told.webhookUrl,
      input: { traceparent: told.traceparent },
    });
  });

  describe('with payload: bare', () => {
    const bodyOf = async (submission: JobSubmission): Promise<unknown> => {
      const [, standIn] = await answering(200, { id: 'r', status: 'IN_QUEUE' });
      const adapter = runpod({ apiUrl: `${standIn.url}/v2`, endpointId: 'e', apiKey: 'k', payload: 'bare' });
      await adapter.submit(submission, { signal });
      await adapter.close();
      return JSON.parse(standIn.received[0]?.body.toString() ?? '') as unknown;
    };
    it('is the bare workflow when there are no files, and wrapped otherwise', async () => {
      const withFile = job(3);
      expect(await bodyOf({ ...withFile, files: [] })).toEqual({ input: withFile.workflow });
      expect(await bodyOf(withFile)).toMatchObject({ input: { workflow: withFile.workflow, jobId: 'j' } });
    });
  });

  describe('with an input bucket', () => {
    const put: InputBucket['put'] = (sha256) => Promise.resolve(`https://bucket.example/${sha256}`);
    async function imagesOf(files: JobSubmission['files'], inputBucket: InputBucket): Promise<string[]> {
      const [, standIn] = await answering(200, { id: 'r', status: 'IN_QUEUE' });
      const adapter = runpod({ apiUrl: `${standIn.url}/v2`, endpointId: 'e', apiKey: 'k', inputBucket });
      await adapter.submit({ ...job(0), files }, { signal });
      await adapter.close();
      const body = JSON.parse(standIn.received[0]?.body.toString() ?? '') as {
        input: { images: { image: string }[] };
      };
      return body.input.images.map(({ image }) => image);
    }
    const file = (size: number) => ({
      name: 'a.png',
      source: { name: 'a.png', bytes: new Uint8Array(size) },
    });

    it('sends what fits inline, the rest by address, and addresses as they are', async () => {
      const byUrl = { name: 'b.png', source: { url: 'https://example.org/b.png' } };
      const images = await imagesOf([file(9_000_000), file(3), byUrl], { put });
      expect(images[0]).toMatch(/^https:\/\/bucket\.example\/[0-9a-f]{64}$/);
      expect(images.slice(1)).toEqual(['AAAA', 'https://example.org/b.png']);
    });

    it('that fails, fails the submission before it is sent', async () => {
      const broken = { put: () => Promise.reject(new Error('reset')) };
      await expect(imagesOf([file(9_000_000)], broken)).rejects.toMatchObject({
        code: 'backend_unreachable',
        accepted: 'no',
        retryable: true,
      });
    });
  });

  it.each([
    [400, 'invalid_input', 'no', false],
    [401, 'unauthorized', 'no', false],
    [404, 'job_not_found', 'no', false],
    [429, 'rate_limited', 'no', true],
    [500, 'backend_error', 'unknown', true],
    [503, 'backend_error', 'unknown', true],
  ])('answered with %i is %s, accepted: %s', async (status, code, accepted, retryable) => {
    const [adapter] = await answering(status, { error: 'because' });
    await expect(adapter.submit(job(3), { signal })).rejects.toMatchObject({ code, accepted, retryable });
  });
});

describe('envelopes', () => {
  it('of a finished job give the pictures and files in order', async () => {
    const images = [
      { filename: 'b.png', type: 'base64', data: 'data:image/png;base64,QUI=' },
      { filename: 'a.png', type: 'base64', data: 'QUJD' },
    ];
    const files = [
      {
        filename: 'c.mp4',
        type: 'base64',
        data: 'QQ==',
        kind: 'video',
        contentType: 'video/mp4',
        nodeId: '5',
      },
    ];
    const { status, outputs, timings } = await snapshot({
      status: 'COMPLETED',
      delayTime: 900,
      executionTime: 50,
      output: { images, files, timings: { bootMs: 700 } },
    });
    expect(status).toBe('succeeded');
    expect(outputs.map(({ name }) => name)).toEqual(['b.png', 'a.png', 'c.mp4']);
    expect(outputs[2]).toMatchObject({ kind: 'video', contentType: 'video/mp4', nodeId: '5' });
    expect(
      await Promise.all(outputs.map(async (each) => Buffer.from(await each.bytes()).toString())),
    ).toEqual(['AB', 'ABC', 'A']);
    expect(timings).toEqual({ queueMs: 200, coldStartMs: 700, executionMs: 50 });
  });

  it('without a picture are a success without outputs', async () => {
    const output = { status: 'success_no_images', images: [] };
    expect(await snapshot({ status: 'COMPLETED', output })).toMatchObject({
      status: 'succeeded',
      outputs: [],
    });
  });

  it('with errors beside the pictures succeed with warnings', async () => {
    const images = [{ filename: 'a.webp', type: 'base64', data: 'QUJD' }];
    const snapshotWith = await snapshot({
      status: 'COMPLETED',
      output: { images, errors: ['node 9: no file'] },
    });
    expect(snapshotWith).toMatchObject({ status: 'succeeded', warnings: ['node 9: no file'] });
    expect(snapshotWith.outputs[0]).toMatchObject({ name: 'a.webp', contentType: 'image/webp' });
    expect(await snapshot({ status: 'COMPLETED', output: { images } })).not.toHaveProperty('warnings');
  });

  it('with errors and nothing else are a failure', async () => {
    const output = { status: 'success_no_images', images: [], errors: ['CUDA out of memory'] };
    expect(await snapshot({ status: 'COMPLETED', output })).toMatchObject({
      status: 'failed',
      error: { code: 'out_of_memory', message: 'CUDA out of memory' },
    });
  });

  it('completed with an error inside are a failure', async () => {
    const output = { error: 'Workflow validation failed', images: [] };
    expect(await snapshot({ status: 'COMPLETED', output })).toMatchObject({
      status: 'failed',
      error: { code: 'backend_error', message: 'Workflow validation failed' },
    });
  });

  it('of an exception in the handler give its message', async () => {
    const error = JSON.stringify({
      error_type: "<class 'ValueError'>",
      error_message: 'bad seed',
      error_traceback: 'Traceback …',
      worker_id: 'w',
    });
    expect((await snapshot({ status: 'FAILED', error })).error?.message).toBe('bad seed');
  });

  it('with a bucket address are fetched without our key, and resumed', async () => {
    let asked = 0;
    const bucket = await httpStandIn((_request, response) => {
      asked += 1;
      if (asked > 1) response.writeHead(206, { 'content-range': 'bytes 2-4/5' }).end('CDE');
      else {
        response.writeHead(200, { 'content-length': 5 });
        response.write('AB', () => setImmediate(() => response.destroy()));
      }
    });
    const data = `${bucket.url}/a.png?signature=x`;
    const envelope = {
      id: 'r',
      status: 'COMPLETED',
      output: { images: [{ filename: 'a.png', type: 's3_url', data }] },
    };
    const standIn = await httpStandIn((_request, response) => json(response, 200, envelope));
    standIns.push(bucket, standIn);
    const adapter = runpod({ apiUrl: standIn.url, endpointId: 'e', apiKey: 'k', allowPrivateNetworks: true });
    const [output] = (await adapter.status({ id: 'r' }, { signal })).outputs;
    expect(Buffer.from(await output!.bytes()).toString()).toBe('ABCDE');
    expect(bucket.received.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
    await adapter.close();
  });

  it.each([undefined, null, 'text', {}, { workerId: 'w' }, { images: [{ filename: 1 }] }])(
    'completed with the output %j are a failure',
    async (output) => {
      const { status, error } = await snapshot({ status: 'COMPLETED', output });
      expect(status).toBe('failed');
      expect(error?.code).toBe('output_missing');
    },
  );

  it('of our worker keep code, node and hint', async () => {
    const cause = {
      code: 'node_execution_error',
      message: 'bad',
      nodeId: '7',
      classType: 'X',
      hint: 'fix it',
    };
    const { error } = await snapshot({
      status: 'FAILED',
      error: JSON.stringify({ ...cause, retryable: true }),
    });
    expect(error).toMatchObject({ ...cause, retryable: true });
  });

  it("of the community's worker give the true cause, which is in output.details", async () => {
    const { error } = await snapshot({
      status: 'FAILED',
      error: 'Job processing failed',
      output: { details: ['node 3: CUDA out of memory'] },
    });
    expect(error).toMatchObject({ code: 'out_of_memory', message: 'node 3: CUDA out of memory' });
  });

  it.each([
    ['FAILED', 'failed', 'backend_error'],
    ['TIMED_OUT', 'failed', 'timed_out'],
    ['CANCELLED', 'canceled', undefined],
  ])('with %s are %s', async (state, status, code) => {
    const answer = await snapshot({ status: state, error: state === 'FAILED' ? 'plain text' : undefined });
    expect([answer.status, answer.error?.code]).toEqual([status, code]);
  });

  it('of a running job carry its progress', async () => {
    const progress = { value: 0.25, nodes_done: 1, nodes_total: 4, current_node: '3', step: 2, steps: 8 };
    const { status, progress: told } = await snapshot({
      status: 'IN_PROGRESS',
      output: { progress, jobId: 'j' },
    });
    expect(status).toBe('running');
    expect(told).toMatchObject({ value: 0.25, node: '3', step: 2, steps: 8 });
  });

  it('with an unknown state or shape are refused', async () => {
    await expect(snapshot({ status: 'DREAMING' })).rejects.toMatchObject({ code: 'invalid_response' });
  });

  it.each([
    'http://169.254.169.254/latest',
    'https://169.254.169.254/latest',
    'https://127.0.0.1:1/a.png',
    'https://[::ffff:10.0.0.1]/a.png',
    'https://localhost/a.png',
    'file:///etc/passwd',
    'nonsense',
  ])('with the bucket address %s are not read: public hosts, over https only', async (data) => {
    const output = { images: [{ filename: 'a.png', type: 's3_url', data }] };
    const { outputs } = await snapshot({ status: 'COMPLETED', output });
    await expect(outputs[0]?.bytes()).rejects.toMatchObject({ code: 'untrusted_url' });
  });
});

it('health is what RunPod says of the endpoint', async () => {
  const [adapter, standIn] = await answering(200, {
    jobs: { completed: 1, failed: 0, inProgress: 2, inQueue: 3, retried: 0 },
    workers: { idle: 4, running: 2, initializing: 0, ready: 6, throttled: 0 },
  });
  expect(await adapter.health?.({ signal })).toEqual({ queued: 3, running: 2, idleWorkers: 4 });
  expect(standIn.received[0]?.path).toBe('/v2/e/health');
});
