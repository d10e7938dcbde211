/** What every adapter must do, whatever its backend: one suite, run by any test runner. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { type ApiWorkflow, parseApiWorkflow } from '@ryla/workflow';

import type { Adapter, AdapterEvent, ProviderRef } from '../adapter.ts';
import { ComfyUIServiceError } from '../errors.ts';
import { isTerminal, type JobFile, type JobMetrics, type JobSnapshot, type JobSubmission } from '../job.ts';

/** A backend that the suite may send jobs to. */
export interface ConformanceTarget {
  readonly adapter: Adapter;
  /** The same backend, reached with credentials that are not its own. */
  readonly stranger: Adapter;
  /** A picture that the backend's LoadImage can read. */
  readonly picture: Uint8Array;
  /** Milliseconds that a job may take, a cold start included. */
  readonly timeoutMs: number;
  /** Whether jobs may bring files. Default true; a backend that takes none must refuse them as `not_supported`. */
  readonly takesFiles?: boolean;
  /**
   * Whether the workers are ours, which measure every job. Default false: the metrics are not asked for then, and those
   * that come must have their form all the same.
   */
  readonly measures?: boolean;
}

/** One behaviour of the suite. */
export interface ConformanceCase {
  readonly name: string;
  /** Rejects with an assertion when the adapter behaves otherwise. */
  readonly run: (target: ConformanceTarget) => Promise<void>;
}

const FILE = 'conformance.png';

const MEASURED = [
  'queueMs',
  'bootMs',
  'modelLoadMs',
  'samplingMs',
  'encodeMs',
  'uploadMs',
  'peakMemoryBytes',
] as const satisfies readonly (keyof JobMetrics)[];

function pictureJob(target: ConformanceTarget, changes: Partial<JobSubmission> = {}): JobSubmission {
  const { takesFiles = true } = target;
  const loaded = { class_type: 'LoadImage', inputs: { image: FILE } };
  const made = {
    class_type: 'EmptyImage',
    inputs: { width: 32, height: 32, batch_size: 1, color: 0x808080 },
  };
  return {
    jobId: randomUUID(),
    endpoint: undefined,
    workflow: workflow({
      '1': takesFiles ? loaded : made,
      '2': { class_type: 'ImageInvert', inputs: { image: ['1', 0] } },
      '3': { class_type: 'SaveImage', inputs: { images: ['2', 0], filename_prefix: 'inverted' } },
      '4': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'original' } },
    }),
    files: takesFiles ? [file(target.picture)] : [],
    ...changes,
  };
}

function workflow(nodes: object): ApiWorkflow {
  return parseApiWorkflow(nodes);
}

function file(bytes: Uint8Array): JobFile {
  return { name: FILE, source: { name: FILE, bytes } };
}

async function finished(target: ConformanceTarget, ref: ProviderRef): Promise<JobSnapshot> {
  const signal = AbortSignal.timeout(target.timeoutMs);
  for (;;) {
    const snapshot = await target.adapter.status(ref, { signal });
    if (isTerminal(snapshot.status)) return snapshot;
    await delay(50, undefined, { signal });
  }
}

async function refused(work: Promise<unknown>, code: string): Promise<ComfyUIServiceError> {
  const error: unknown = await work.then(
    () => assert.fail(`it was taken; ${code} was expected`),
    (reason: unknown) => reason,
  );
  assert.ok(ComfyUIServiceError.isInstance(error), `not a ComfyUIServiceError: ${String(error)}`);
  assert.equal(error.code, code, error.message);
  return error;
}

/** The error of a job, whether the backend refuses it at once or fails it later. */
async function failure(target: ConformanceTarget, job: JobSubmission): Promise<ComfyUIServiceError> {
  const signal = AbortSignal.timeout(target.timeoutMs);
  let ref: ProviderRef;
  try {
    ref = await target.adapter.submit(job, { signal });
  } catch (error) {
    if (ComfyUIServiceError.isInstance(error)) return error;
    throw error;
  }
  const { status, error } = await finished(target, ref);
  assert.equal(status, 'failed');
  assert.ok(error !== undefined, 'a failed job must say why');
  return error;
}

/** The behaviours; a capability's cases pass at once for an adapter that does not have it. */
export const adapterConformance: readonly ConformanceCase[] = [
  {
    name: 'runs a job with a picture and returns every output with its content',
    async run(target) {
      const signal = AbortSignal.timeout(target.timeoutMs);
      const { status, outputs, error } = await finished(
        target,
        await target.adapter.submit(pictureJob(target), { signal }),
      );
      assert.equal(status, 'succeeded', error?.message);
      assert.deepEqual(outputs.map(({ nodeId }) => nodeId).sort(), ['3', '4']);
      for (const output of outputs) {
        assert.equal(output.kind, 'image');
        assert.equal(output.contentType, 'image/png');
        const content = await output.bytes({ signal });
        assert.equal(Buffer.from(content.subarray(1, 4)).toString('latin1'), 'PNG');
        if (output.size !== undefined) assert.equal(content.length, output.size);
      }
    },
  },
  {
    name: 'names the node that the engine does not know',
    async run(target) {
      const nodes = { ...pictureJob(target).workflow, '7': { class_type: 'NoSuchNode', inputs: {} } };
      const saved = { class_type: 'SaveImage', inputs: { images: ['7', 0], filename_prefix: 'x' } };
      const error = await failure(
        target,
        pictureJob(target, { workflow: workflow({ ...nodes, '8': saved }) }),
      );
      assert.equal(error.code, 'invalid_workflow', error.message);
      assert.match(`${error.nodeId ?? ''} ${error.message}`, /7|NoSuchNode/);
    },
  },
  {
    name: 'tells why a node failed, and which',
    async run(target) {
      const broken = file(new TextEncoder().encode('no picture'));
      if (target.takesFiles === false) {
        const signal = AbortSignal.timeout(target.timeoutMs);
        const submitted = target.adapter.submit(pictureJob(target, { files: [broken] }), { signal });
        assert.equal((await refused(submitted, 'not_supported')).accepted, 'no');
        return;
      }
      const error = await failure(target, pictureJob(target, { files: [broken] }));
      assert.ok(
        ['node_execution_error', 'invalid_workflow', 'invalid_input_file'].includes(error.code),
        error.code,
      );
      if (error.code === 'node_execution_error') assert.equal(error.nodeId, '1');
      assert.notEqual(error.message, '');
    },
  },
  {
    name: 'leaves a job that has ended as it is when it is canceled',
    async run(target) {
      const signal = AbortSignal.timeout(target.timeoutMs);
      const ref = await target.adapter.submit(pictureJob(target), { signal });
      assert.equal((await finished(target, ref)).status, 'succeeded');
      await target.adapter.cancel(ref, { signal });
      assert.equal((await target.adapter.status(ref, { signal })).status, 'succeeded');
    },
  },
  {
    name: 'ends a job that is canceled at once as canceled, unless it was quicker',
    async run(target) {
      const signal = AbortSignal.timeout(target.timeoutMs);
      const ref = await target.adapter.submit(pictureJob(target), { signal });
      await target.adapter.cancel(ref, { signal });
      const { status, outputs } = await finished(target, ref);
      assert.ok(status === 'canceled' || status === 'succeeded', status);
      if (status === 'canceled') assert.deepEqual(outputs, []);
    },
  },
  {
    name: 'knows no job that was never sent',
    async run({ adapter }) {
      const signal = AbortSignal.timeout(10_000);
      await refused(adapter.status({ id: randomUUID() }, { signal }), 'job_not_found');
    },
  },
  {
    name: 'tells wrong credentials apart from everything else',
    async run(target) {
      const signal = AbortSignal.timeout(10_000);
      const error = await refused(target.stranger.submit(pictureJob(target), { signal }), 'unauthorized');
      assert.equal(error.accepted, 'no');
      assert.equal(error.retryable, false);
    },
  },
  {
    name: 'rejects with the reason of its signal, for every call',
    async run(target) {
      const reason = new Error('the caller gave up');
      const signal = AbortSignal.abort(reason);
      const ref = { id: randomUUID() };
      const { adapter } = target;
      const isReason = (error: unknown): boolean => error === reason;
      await assert.rejects(adapter.submit(pictureJob(target, { files: [] }), { signal }), isReason);
      await assert.rejects(adapter.status(ref, { signal }), isReason);
      await assert.rejects(adapter.cancel(ref, { signal }), isReason);
    },
  },
  {
    name: 'look-up finds what was sent and nothing else; the same id is not taken twice',
    async run(target) {
      const { adapter } = target;
      const signal = AbortSignal.timeout(target.timeoutMs);
      if (adapter.lookup === undefined) return;
      const job = pictureJob(target);
      assert.equal(await adapter.lookup(job.jobId, { signal }), undefined);
      const ref = await adapter.submit(job, { signal });
      const second = await refused(adapter.submit(job, { signal }), 'submission_unknown');
      assert.equal(second.accepted, 'unknown');
      assert.deepEqual(await adapter.lookup(job.jobId, { signal }), ref);
      assert.equal((await finished(target, ref)).status, 'succeeded');
    },
  },
  {
    name: 'tells where the time of a job went, where its workers measure it',
    async run(target) {
      const signal = AbortSignal.timeout(target.timeoutMs);
      const ref = await target.adapter.submit(pictureJob(target), { signal });
      const { status, metrics, gpu, error } = await finished(target, ref);
      assert.equal(status, 'succeeded', error?.message);
      assert.ok(metrics !== undefined || target.measures !== true, 'no metrics came');
      if (metrics === undefined) return;
      for (const name of MEASURED) {
        const figure = metrics[name];
        assert.ok(figure === null || figure >= 0, `${name}: ${String(figure)}`);
      }
      assert.equal(gpu, metrics.gpu ?? undefined);
      if (target.measures === true) assert.notEqual(metrics.bootMs, null);
    },
  },
  {
    name: 'its event stream tells the outputs before the end, and ends',
    async run(target) {
      const { adapter } = target;
      if (adapter.events === undefined) return;
      const signal = AbortSignal.timeout(target.timeoutMs);
      const ref = await adapter.submit(pictureJob(target), { signal });
      const events: AdapterEvent[] = [];
      const isEnd = (event: AdapterEvent): boolean =>
        event.type === 'snapshot' && isTerminal(event.snapshot.status);
      // The backend may end a stream early; whoever follows opens it again.
      while (!events.some(isEnd))
        for await (const event of adapter.events(ref, { signal })) events.push(event);
      const end = events.findIndex(isEnd);
      assert.deepEqual(events.slice(end + 1), []);
      const told = events.flatMap((event) => (event.type === 'output' ? [event.nodeId] : []));
      assert.deepEqual([...new Set(told)].sort(), ['3', '4']);
    },
  },
];
