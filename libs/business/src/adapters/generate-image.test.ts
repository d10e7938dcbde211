import { randomUUID } from 'node:crypto';

import { parseApiWorkflow } from '@ryla/workflow';
import { afterEach, describe, expect, it } from 'vitest';

import type { Adapter, ProviderRef } from '../adapter.ts';
import { isTerminal, type JobSnapshot, type JobSubmission } from '../job.ts';
import {
  generateImageStandIn,
  type GenerateImageStandInOptions,
} from '../testing/generate-image-stand-in.ts';
import { type HttpStandIn, httpStandIn, json } from '../testing/http-stand-in.ts';
import { greyPng } from '../testing/png.ts';
import { generateImage, type GenerateImageOptions } from './generate-image.ts';

const signal = AbortSignal.timeout(120_000);
const picture = greyPng(8, 8);
const cleanups: (() => PromiseLike<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function kept<T extends HttpStandIn>(standIn: T): T {
  cleanups.push(() => standIn[Symbol.asyncDispose]());
  return standIn;
}

function adapterOf(url: string, options: Partial<GenerateImageOptions> = {}): Adapter {
  const adapter = generateImage({ url, auth: { type: 'bearer', token: 'right' }, ...options });
  cleanups.push(() => adapter.close());
  return adapter;
}

async function started(
  options: Partial<GenerateImageStandInOptions> = {},
  adapterOptions: Partial<GenerateImageOptions> = {},
): Promise<readonly [Adapter, HttpStandIn]> {
  const standIn = kept(await generateImageStandIn({ token: 'right', picture, ...options }));
  return [adapterOf(standIn.url, adapterOptions), standIn];
}

function job(classType = 'SaveImage'): JobSubmission {
  const workflow = parseApiWorkflow({ '2': { class_type: classType, inputs: {} } });
  return { jobId: randomUUID(), endpoint: undefined, workflow, files: [] };
}

async function finished(adapter: Adapter, ref: ProviderRef): Promise<JobSnapshot> {
  for (;;) {
    const snapshot = await adapter.status(ref, { signal });
    if (isTerminal(snapshot.status)) return snapshot;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a call', () => {
  it('that Modal cuts is asked for at the address it gave, with our credentials and without following it', async () => {
    const [adapter, standIn] = await started({ cuts: 3 });
    const ref = await adapter.submit(job(), { signal });
    const { status, outputs } = await finished(adapter, ref);
    expect(status).toBe('succeeded');
    expect(await outputs[0]?.bytes()).toEqual(Buffer.from(picture));
    expect(standIn.received.map(({ method }) => method)).toEqual(['POST', 'GET', 'GET', 'GET']);
    expect(standIn.received.every(({ headers }) => headers.authorization === 'Bearer right')).toBe(true);
  });

  it('kept at another host is not followed there', async () => {
    const elsewhere = kept(await httpStandIn((_request, response) => json(response, 200, { image: 'QQ==' })));
    const standIn = kept(
      await httpStandIn((_request, response) => response.writeHead(303, { location: elsewhere.url }).end()),
    );
    await expect(adapterOf(standIn.url).submit(job(), { signal })).rejects.toMatchObject({
      code: 'untrusted_url',
      accepted: 'unknown',
    });
    expect(elsewhere.received).toEqual([]);
  });

  it('whose look fails tells it once and is looked for again', async () => {
    let looks = 0;
    const standIn = kept(
      await httpStandIn((request, response) => {
        if (request.method === 'POST') return response.writeHead(303, { location: '/?kept' }).end();
        looks += 1;
        return looks === 1 ? response.destroy() : json(response, 200, { image: 'QUJD', images: ['QUJD'] });
      }),
    );
    const adapter = adapterOf(standIn.url);
    const ref = await adapter.submit(job(), { signal });
    await expect(finished(adapter, ref)).rejects.toMatchObject({
      code: 'backend_unreachable',
      retryable: true,
    });
    const { outputs } = await finished(adapter, ref);
    expect(Buffer.from((await outputs[0]?.bytes()) ?? []).toString()).toBe('ABC');
  });

  it('takes the workflow as text where the function wants that', async () => {
    const [adapter, standIn] = await started({}, { workflowAs: 'text' });
    const submission = job();
    await adapter.submit(submission, { signal });
    const body = JSON.parse(standIn.received[0]?.body.toString() ?? '') as { workflow_json: string };
    expect(JSON.parse(body.workflow_json)).toEqual(submission.workflow);
  });

  it('is canceled by hanging up', async () => {
    const hungUp = Promise.withResolvers<undefined>();
    const [adapter] = await started(
      { isSilent: true, onHangUp: () => hungUp.resolve(undefined) },
      { acceptanceMs: 5 },
    );
    const ref = await adapter.submit(job(), { signal });
    expect((await adapter.status(ref, { signal })).status).toBe('running');
    await adapter.cancel(ref, { signal });
    await hungUp.promise;
    expect((await adapter.status(ref, { signal })).status).toBe('canceled');
  });

  it('that Modal keeps cannot be canceled, and is not said to be', async () => {
    const standIn = kept(
      await httpStandIn((request, response) =>
        request.method === 'POST' ? response.writeHead(303, { location: '/?kept' }).end() : undefined,
      ),
    );
    const adapter = adapterOf(standIn.url);
    const ref = await adapter.submit(job(), { signal });
    await expect(adapter.cancel(ref, { signal })).rejects.toMatchObject({ code: 'not_supported' });
    expect((await adapter.status(ref, { signal })).status).toBe('running');
  });

  it('whose caller gives up hangs up', async () => {
    const hungUp = Promise.withResolvers<undefined>();
    const [adapter] = await started({ isSilent: true, onHangUp: () => hungUp.resolve(undefined) });
    const stop = new AbortController();
    const submitted = adapter.submit(job(), { signal: stop.signal });
    setImmediate(() => stop.abort(new Error('enough')));
    await expect(submitted).rejects.toThrow('enough');
  });
});

describe('answers', () => {
  it.each([
    [200, { image: 'QUJD' }, ['ABC']],
    [200, { image: null, images: [] }, []],
    [200, { image: 'QUJD', images: [{ data: 'QUJD', filename: 'a.webp' }, 'QUI='] }, ['ABC', 'AB']],
  ])('with %i %j are pictures', async (status, body, texts) => {
    const standIn = kept(await httpStandIn((_request, response) => json(response, status, body)));
    const adapter = adapterOf(standIn.url);
    const { outputs } = await finished(adapter, await adapter.submit(job(), { signal }));
    expect(
      await Promise.all(outputs.map(async (each) => Buffer.from(await each.bytes()).toString())),
    ).toEqual(texts);
  });

  it('without pictures are a failure', async () => {
    const standIn = kept(await httpStandIn((_request, response) => json(response, 200, { result: 'x' })));
    const adapter = adapterOf(standIn.url);
    expect(await finished(adapter, await adapter.submit(job(), { signal }))).toMatchObject({
      status: 'failed',
      error: { code: 'output_missing' },
    });
  });

  it('that tell how the job failed are the end of the job', async () => {
    const [adapter] = await started();
    expect(await finished(adapter, await adapter.submit(job('Broken'), { signal }))).toMatchObject({
      status: 'failed',
      error: { code: 'out_of_memory', nodeId: '2' },
    });
  });

  it.each([
    [401, {}, 'unauthorized', 'no'],
    [422, { detail: [{ loc: ['workflow_json'], msg: 'missing' }] }, 'invalid_workflow', 'no'],
    [429, {}, 'rate_limited', 'no'],
    [500, { error: 'boom' }, 'backend_error', 'unknown'],
  ])('with %i %j refuse the job: %s, accepted: %s', async (status, body, code, accepted) => {
    const standIn = kept(await httpStandIn((_request, response) => json(response, status, body)));
    await expect(adapterOf(standIn.url).submit(job(), { signal })).rejects.toMatchObject({ code, accepted });
  });

  it('that never come leave open whether the job ran', async () => {
    const cut = Promise.withResolvers<undefined>();
    const standIn = kept(
      await httpStandIn((_request, response) => void cut.promise.then(() => response.destroy())),
    );
    const adapter = adapterOf(standIn.url, { acceptanceMs: 5 });
    const ref = await adapter.submit(job(), { signal });
    cut.resolve(undefined);
    expect(await finished(adapter, ref)).toMatchObject({
      status: 'failed',
      error: { code: 'submission_unknown' },
    });
  });
});
