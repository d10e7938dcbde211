import { afterAll, beforeAll, describe, it } from 'vitest';

import { comfyui } from '../adapters/comfyui.ts';
import { generateImage } from '../adapters/generate-image.ts';
import { memory, type MemoryOutcome, type MemorySubmission } from '../adapters/memory.ts';
import { modal } from '../adapters/modal.ts';
import { runcomfy } from '../adapters/runcomfy.ts';
import { runpod } from '../adapters/runpod.ts';
import { adapterConformance, type ConformanceTarget } from './adapter-conformance.ts';
import { comfyApiStandIn } from './comfy-api-stand-in.ts';
import { comfyuiStandIn } from './comfyui-stand-in.ts';
import { generateImageStandIn } from './generate-image-stand-in.ts';
import { greyPng } from './png.ts';
import { runcomfyStandIn } from './runcomfy-stand-in.ts';
import { runpodStandIn } from './runpod-stand-in.ts';
import { ComfyUIServiceError } from '../errors.ts';
import type { JobMetrics } from '../job.ts';

const picture = greyPng(8, 8);
const metrics: JobMetrics = {
  queueMs: null,
  bootMs: 0,
  modelLoadMs: 120,
  samplingMs: 800,
  encodeMs: 90,
  uploadMs: 15,
  gpu: 'NVIDIA L40S',
  peakMemoryBytes: 12_000_000_000,
};

async function modalTarget(): Promise<readonly [AsyncDisposable, ConformanceTarget]> {
  const prefix = '/_w/acme--api';
  const standIn = await comfyApiStandIn({ token: 'right', picture, prefix, metrics });
  const baseUrl = standIn.url + prefix;
  const adapter = modal({ baseUrl, auth: { type: 'bearer', token: 'right' } });
  const stranger = modal({ baseUrl, auth: { type: 'bearer', token: 'wrong' } });
  return [standIn, { adapter, stranger, picture, timeoutMs: 5_000, measures: true }];
}

async function runpodTarget(): Promise<readonly [AsyncDisposable, ConformanceTarget]> {
  const standIn = await runpodStandIn({ apiKey: 'right', picture, metrics });
  const apiUrl = `${standIn.url}/v2`;
  const adapter = runpod({ apiUrl, endpointId: 'unit', apiKey: 'right' });
  const stranger = runpod({ apiUrl, endpointId: 'unit', apiKey: 'wrong' });
  return [standIn, { adapter, stranger, picture, timeoutMs: 5_000, measures: true }];
}

async function runcomfyTarget(): Promise<readonly [AsyncDisposable, ConformanceTarget]> {
  const standIn = await runcomfyStandIn({ apiKey: 'right', deploymentId: 'd', picture });
  const options = { apiUrl: standIn.url, deploymentId: 'd', allowPrivateNetworks: true };
  const adapter = runcomfy({ ...options, apiKey: 'right' });
  const stranger = runcomfy({ ...options, apiKey: 'wrong' });
  return [standIn, { adapter, stranger, picture, timeoutMs: 5_000 }];
}

async function comfyuiTarget(): Promise<readonly [AsyncDisposable, ConformanceTarget]> {
  const standIn = await comfyuiStandIn({ picture, authorization: 'Bearer right' });
  const adapter = comfyui({ baseUrl: standIn.url, headers: { authorization: 'Bearer right' } });
  const stranger = comfyui({ baseUrl: standIn.url, headers: { authorization: 'Bearer wrong' } });
  return [standIn, { adapter, stranger, picture, timeoutMs: 5_000 }];
}

async function generateImageTarget(): Promise<readonly [AsyncDisposable, ConformanceTarget]> {
  const standIn = await generateImageStandIn({ token: 'right', picture });
  const adapter = generateImage({ url: standIn.url, auth: { type: 'bearer', token: 'right' } });
  const stranger = generateImage({ url: standIn.url, auth: { type: 'bearer', token: 'wrong' } });
  return [standIn, { adapter, stranger, picture, timeoutMs: 5_000, takesFiles: false }];
}

/** An engine as far as the suite asks for one. */
function engine({ job, files }: MemorySubmission): MemoryOutcome {
  const failed = (nodeId: string, code: 'invalid_workflow' | 'node_execution_error'): MemoryOutcome => ({
    type: 'fail',
    error: new ComfyUIServiceError(code, `node ${nodeId} failed`, { nodeId }),
  });
  const nodes = Object.entries(job.workflow);
  for (const [nodeId, { class_type: classType }] of nodes) {
    if (classType === 'NoSuchNode') return failed(nodeId, 'invalid_workflow');
    const isBroken = [...files.values()].some((bytes) => !Buffer.from(bytes).includes('PNG'));
    if (classType === 'LoadImage' && isBroken) return failed(nodeId, 'node_execution_error');
  }
  const saves = nodes.filter(([, node]) => node.class_type === 'SaveImage');
  const outputs = saves.map(([nodeId]) => ({ nodeId, name: `${nodeId}.png`, bytes: picture }));
  return { type: 'succeed', outputs, afterMs: 20 };
}

async function memoryTarget(lookup: boolean): Promise<readonly [AsyncDisposable, ConformanceTarget]> {
  const unauthorized = new ComfyUIServiceError('unauthorized', 'wrong key', { accepted: 'no' });
  const adapter = memory({ outcome: engine, lookup });
  const stranger = memory({ outcome: { type: 'refuse', error: unauthorized } });
  return [
    await Promise.resolve(new AsyncDisposableStack()),
    { adapter, stranger, picture, timeoutMs: 5_000 },
  ];
}

describe.each([
  { backend: 'comfyui', start: comfyuiTarget },
  { backend: 'generate-image', start: generateImageTarget },
  { backend: 'memory', start: () => memoryTarget(true) },
  { backend: 'memory without look-up', start: () => memoryTarget(false) },
  { backend: 'modal', start: modalTarget },
  { backend: 'runcomfy', start: runcomfyTarget },
  { backend: 'runpod', start: runpodTarget },
])('conformance of $backend against a stand-in', ({ start }) => {
  let standIn: AsyncDisposable;
  let target: ConformanceTarget;
  beforeAll(async () => {
    [standIn, target] = await start();
  });
  afterAll(async () => {
    await Promise.all([target.adapter.close(), target.stranger.close()]);
    await standIn[Symbol.asyncDispose]();
  });
  for (const { name, run } of adapterConformance) it(name, () => run(target));
});
