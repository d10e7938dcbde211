import { randomUUID } from 'node:crypto';

import { parseApiWorkflow } from '@ryla/workflow';
import { describe, expect, it } from 'vitest';

import { ComfyUIServiceError } from '../errors.ts';
import type { JobSubmission } from '../job.ts';
import { createComfyUIService } from '../services/comfyui-service.ts';
import { memory } from './memory.ts';

const { signal } = new AbortController();
const workflow = parseApiWorkflow({ '1': { class_type: 'SaveImage', inputs: {} } });

function job(jobId: string = randomUUID()): JobSubmission {
  return { jobId, endpoint: undefined, workflow, files: [] };
}

describe('a script', () => {
  it('decides by the clock that it is given', async () => {
    let now = 0;
    const adapter = memory({ outcome: { type: 'succeed', afterMs: 1_000 }, clock: { now: () => now } });
    const ref = await adapter.submit(job(), { signal });
    now = 999;
    expect((await adapter.status(ref, { signal })).status).toBe('running');
    now = 1_000;
    expect(await adapter.status(ref, { signal })).toMatchObject({
      status: 'succeeded',
      timings: { executionMs: 1_000 },
    });
    await adapter.cancel(ref, { signal });
    expect((await adapter.status(ref, { signal })).status).toBe('succeeded');
  });

  it('may fail a job, never end it, or refuse it', async () => {
    const error = new ComfyUIServiceError('out_of_memory', 'too large');
    const outcomes = [{ type: 'fail', error }, { type: 'never' }, { type: 'refuse' }] as const;
    let next = 0;
    const adapter = memory({ outcome: () => outcomes[next++] ?? { type: 'never' } });
    const failed = await adapter.submit(job(), { signal });
    expect(await adapter.status(failed, { signal })).toMatchObject({ status: 'failed', error });
    const endless = await adapter.submit(job(), { signal });
    expect((await adapter.status(endless, { signal })).status).toBe('running');
    await adapter.cancel(endless, { signal });
    expect((await adapter.status(endless, { signal })).status).toBe('canceled');
    expect(adapter.canceled).toEqual([endless['id']]);
    await expect(adapter.submit(job(), { signal })).rejects.toMatchObject({ code: 'backend_unreachable' });
  });
});

describe('a lost answer', () => {
  it('is found again by a look-up: the job runs once', async () => {
    const adapter = memory({
      outcome: ({ attempt }) => (attempt === 1 ? { type: 'succeed', answer: 'lost' } : { type: 'never' }),
    });
    await using service = createComfyUIService({ adapters: { adapter } });
    const handle = await service.submitWorkflow({ workflow });
    expect((await handle.result()).outputs).toEqual([]);
    expect(adapter.executions(handle.id)).toBe(1);
  });

  it('without a look-up is what the service must not send again', async () => {
    const adapter = memory({ outcome: { type: 'succeed', answer: 'lost' }, lookup: false });
    expect(Object.keys(adapter)).not.toContain('lookup');
    await using service = createComfyUIService({ adapters: { adapter } });
    const jobId = randomUUID();
    await expect(service.submitWorkflow({ workflow }, { jobId })).rejects.toMatchObject({
      code: 'submission_unknown',
    });
    expect(adapter.executions(jobId)).toBe(1);
    await adapter.submit(job(jobId), { signal }).catch(() => undefined);
    expect(adapter.executions(jobId)).toBe(2);
  });
});

it('remembers what it received, files included', async () => {
  const adapter = memory();
  const bytes = Buffer.from('content');
  const files = [{ name: 'a.png', source: { name: 'a.png', bytes } }];
  const ref = await adapter.submit({ ...job('j'), files }, { signal });
  expect(adapter.received).toMatchObject([{ attempt: 1, job: { jobId: 'j', workflow } }]);
  expect(adapter.received[0]?.files).toEqual(new Map([['a.png', bytes]]));
  const [output] = (await adapter.status(ref, { signal })).outputs;
  expect(output).toMatchObject({ nodeId: '1', kind: 'image', contentType: 'image/png' });
});
