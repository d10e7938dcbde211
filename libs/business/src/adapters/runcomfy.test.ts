import { parseApiWorkflow } from '@ryla/workflow';
import { afterEach, describe, expect, it } from 'vitest';

import type { JobSubmission } from '../job.ts';
import { type HttpStandIn, httpStandIn, json, type ReceivedRequest } from '../testing/http-stand-in.ts';
import { greyPng } from '../testing/png.ts';
import { runcomfyStandIn } from '../testing/runcomfy-stand-in.ts';
import { runcomfy, RUNCOMFY_INLINE_BYTES, type RunComfyOptions } from './runcomfy.ts';

const { signal } = new AbortController();
const picture = greyPng(8, 8);
const saved = parseApiWorkflow({
  '1': { class_type: 'LoadImage', inputs: { image: 'example.png' } },
  '2': { class_type: 'KSampler', inputs: { image: ['1', 0], seed: 1, steps: 4 } },
  '3': { class_type: 'SaveImage', inputs: { images: ['2', 0], filename_prefix: 'x' } },
});

const standIns: AsyncDisposable[] = [];
afterEach(async () => {
  for (const standIn of standIns.splice(0)) await standIn[Symbol.asyncDispose]();
});

function kept<T extends HttpStandIn>(standIn: T): T {
  standIns.push(standIn);
  return standIn;
}

function adapterAt(apiUrl: string, more: Partial<RunComfyOptions> = {}) {
  const adapter = runcomfy({
    apiUrl,
    deploymentId: 'd-1',
    apiKey: 'right',
    allowPrivateNetworks: true,
    ...more,
  });
  standIns.push({ [Symbol.asyncDispose]: () => adapter.close() });
  return adapter;
}

function job(changes: Partial<JobSubmission> = {}): JobSubmission {
  return { jobId: 'job-1', endpoint: undefined, workflow: saved, files: [], ...changes };
}

const changed = (changes: object): JobSubmission['workflow'] => parseApiWorkflow({ ...saved, ...changes });
const bodyOf = (request: ReceivedRequest | undefined): unknown => JSON.parse(request?.body.toString() ?? '');

async function deployed(options: { isEnabled?: boolean; more?: Partial<RunComfyOptions> } = {}) {
  const { isEnabled = true, more = {} } = options;
  const nodes = saved as Parameters<typeof runcomfyStandIn>[0]['saved'] & object;
  const standIn = kept(
    await runcomfyStandIn({ apiKey: 'right', deploymentId: 'd-1', picture, saved: nodes, isEnabled }),
  );
  return { standIn, adapter: adapterAt(standIn.url, more) };
}

describe('a submission', () => {
  it('brings its whole workflow, files as data URIs, addresses as they are', async () => {
    const { standIn, adapter } = await deployed();
    const files = [{ name: 'example.png', source: { name: 'example.png', bytes: picture } }];
    const workflow = changed({ '4': { class_type: 'LoadImage', inputs: { image: 'far.png' } } });
    const far = { name: 'far.png', source: { url: 'https://example.com/far.png' } };
    await adapter.submit(job({ workflow, files: [...files, far] }), { signal });
    const data = `data:image/png;base64,${Buffer.from(picture).toString('base64')}`;
    expect(bodyOf(standIn.received[0])).toMatchObject({
      workflow_api_json: {
        '1': { inputs: { image: data } },
        '2': { inputs: { seed: 1 } },
        '4': { inputs: { image: 'https://example.com/far.png' } },
      },
    });
  });

  it('of a saved workflow sends the inputs that differ, and no more', async () => {
    const { standIn, adapter } = await deployed({ more: { saved } });
    const inputs = { image: ['1', 0], seed: 7, steps: 4 };
    const workflow = changed({ '2': { class_type: 'KSampler', inputs } });
    await adapter.submit(job({ workflow }), { signal });
    expect(bodyOf(standIn.received[0])).toEqual({ overrides: { '2': { inputs: { seed: 7 } } } });
  });

  it.each([
    ['another class', { '2': { class_type: 'Other', inputs: saved['2']?.inputs ?? {} } }, '2'],
    ['a node more', { '9': { class_type: 'SaveImage', inputs: {} } }, '9'],
    ['an input more', { '1': { class_type: 'LoadImage', inputs: { image: 'a', upload: 'b' } } }, '1'],
    ['an input less', { '1': { class_type: 'LoadImage', inputs: {} } }, '1'],
  ])('with %s than the saved workflow is refused before it is sent', async (_what, change, nodeId) => {
    const { standIn, adapter } = await deployed({ more: { saved } });
    await expect(adapter.submit(job({ workflow: changed(change) }), { signal })).rejects.toMatchObject({
      code: 'invalid_workflow',
      accepted: 'no',
      nodeId,
    });
    expect(standIn.received).toEqual([]);
  });

  it('with too large files is refused before it is sent', async () => {
    const { standIn, adapter } = await deployed();
    const half = new Uint8Array(RUNCOMFY_INLINE_BYTES / 2 + 1);
    const files = ['a.png', 'b.png'].map((name) => ({ name, source: { name, bytes: half } }));
    await expect(adapter.submit(job({ files }), { signal })).rejects.toMatchObject({
      code: 'payload_too_large',
      accepted: 'no',
    });
    expect(standIn.received).toEqual([]);
  });

  it('says where webhooks go in the query', async () => {
    const { standIn, adapter } = await deployed();
    await adapter.submit(job({ webhookUrl: 'https://app.example/hooks/runpod/1/s?x=1' }), { signal });
    const { searchParams } = new URL(standIn.received[0]?.path ?? '', 'http://localhost');
    expect(searchParams.get('webhook')).toBe('https://app.example/hooks/runpod/1/s?x=1');
  });

  it('to a deployment without funds, or that is not there, says so and was not taken', async () => {
    const { adapter } = await deployed({ isEnabled: false });
    await expect(adapter.submit(job(), { signal })).rejects.toMatchObject({
      code: 'backend_error',
      accepted: 'no',
      retryable: false,
      message: expect.stringContaining('InsufficientFunds') as string,
    });
    const { standIn } = await deployed();
    const elsewhere = adapterAt(standIn.url, { deploymentId: 'd-2' });
    await expect(elsewhere.submit(job(), { signal })).rejects.toMatchObject({
      code: 'backend_error',
      accepted: 'no',
      message: expect.stringContaining('no deployment d-2') as string,
    });
  });

  it('that fails validation names the node', async () => {
    const { adapter } = await deployed({
      more: { saved: changed({ '7': { class_type: 'A', inputs: { b: 1 } } }) },
    });
    const workflow = changed({ '7': { class_type: 'A', inputs: { b: 2 } } });
    await expect(adapter.submit(job({ workflow }), { signal })).rejects.toMatchObject({
      code: 'invalid_workflow',
      nodeId: '7',
      accepted: 'no',
    });
  });
});

describe('a request', () => {
  it('is queued, runs, and has outputs that are fetched without the key', async () => {
    const { standIn, adapter } = await deployed();
    const files = [{ name: 'example.png', source: { name: 'example.png', bytes: picture } }];
    const ref = await adapter.submit(job({ files }), { signal });
    expect(await adapter.status(ref, { signal })).toMatchObject({ status: 'queued', queuePosition: 1 });
    expect(await adapter.status(ref, { signal })).toMatchObject({ status: 'running' });
    const { status, outputs } = await adapter.status(ref, { signal });
    expect(status).toBe('succeeded');
    expect(outputs).toMatchObject([{ nodeId: '3', name: '3_00001_.png', kind: 'image' }]);
    expect(await outputs[0]?.bytes()).toEqual(Buffer.from(picture));
    expect(standIn.received.at(-1)?.headers.authorization).toBeUndefined();
  });

  /** What becomes of a request whose result is this. */
  async function ended(result: object) {
    const standIn = kept(
      await httpStandIn((request, response) =>
        json(response, 200, request.path.endsWith('/status') ? { status: 'completed' } : result),
      ),
    );
    return adapterAt(standIn.url).status({ id: 'r' }, { signal });
  }

  it.each([
    [{ type: 'execution_error', message: 'CUDA out of memory' }, 'out_of_memory', undefined],
    [
      [{ errorCode: 1, error: 'Prompt outputs failed validation', debugInfo: '' }],
      'invalid_workflow',
      undefined,
    ],
    [
      [
        {
          error: 'refused',
          debugInfo: JSON.stringify({
            node_errors: { '5': { class_type: 'A', errors: [{ message: 'Value not in list' }] } },
          }),
        },
      ],
      'invalid_workflow',
      '5',
    ],
    ['the machine is gone', 'backend_error', undefined],
    [null, 'backend_error', undefined],
  ])('that failed with %j ends with %s', async (error, code, nodeId) => {
    const snapshot = await ended({ status: 'failed', error });
    expect(snapshot.status).toBe('failed');
    expect(snapshot.error).toMatchObject({ code, nodeId });
    expect(snapshot.error?.message).not.toBe('');
  });

  it('has outputs of every kind; previews are none, and what has no name is called by its address', async () => {
    const { outputs } = await ended({
      status: 'succeeded',
      outputs: {
        '4': { gifs: [{ url: 'https://x.example/a.mp4', filename: 'a.mp4', type: 'output' }] },
        '5': { images: [{ url: 'https://x.example/b.png', filename: 'b.png', type: 'temp' }] },
        '6': { text: ['said'] },
        '7': { images: [{ url: 'https://x.example/d/c.webp?sign=1' }, 'https://x.example/e.png'] },
        '8': 'no report',
      },
    });
    expect(outputs.map(({ nodeId, name, kind }) => [nodeId, name, kind])).toEqual([
      ['4', 'a.mp4', 'video'],
      ['6', '6-0.txt', 'text'],
      ['7', 'c.webp', 'image'],
      ['7', 'e.png', 'image'],
    ]);
    expect((await outputs[1]?.bytes())?.toString()).toBe('said');
  });

  it('of which something unknown is said is no result', async () => {
    await expect(ended({ status: 'paused' })).rejects.toMatchObject({ code: 'invalid_response' });
  });
});

it('tells a deployment that is switched off or not there from one that answers', async () => {
  const { adapter, standIn } = await deployed();
  await expect(adapter.health?.({ signal })).resolves.toBeDefined();
  await expect(adapterAt(standIn.url, { deploymentId: 'd-2' }).health?.({ signal })).rejects.toThrow('d-2');
  const off = await deployed({ isEnabled: false });
  await expect(off.adapter.health?.({ signal })).rejects.toThrow('disabled');
});
