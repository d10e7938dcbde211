/**
 * A job's round trip through the service beside RunPod's own client, on the same stand-in: submit, wait for
 * the end, nothing downloaded; 16 at once. The peer is installed for this run only, into a folder of its own.
 */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import { parseApiWorkflow } from '@ryla/workflow';
import { z } from 'zod';

import { createComfyUIService, runpod } from '../src/index.ts';
import { greyPng, runpodStandIn } from '../src/testing/index.ts';

/** Pinned, so that the figures say what they are of. */
const PEERS = { 'runpod-sdk': '1.1.2' } as const;

const FOLDER = path.resolve(import.meta.dirname, '../../../node_modules/.cache/ryla-bench-peers');
const JOBS = 400;
const WARM_UP = 80;
const AT_ONCE = 16;
const PICTURE = greyPng(8, 8);
const nodes = {
  '1': { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 0 } },
  '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'x' } },
};
const workflow = parseApiWorkflow(nodes);

interface Result {
  readonly name: string;
  readonly ours: number;
  readonly peer: number;
  readonly peerName: string;
  readonly ratio: number;
  readonly unit: string;
}

const anyFunction = z.custom<(...args: readonly unknown[]) => unknown>(
  (value) => typeof value === 'function',
);
const runpodModule = z.object({ default: anyFunction });
/** Jobs a second with the service and with each peer. */
export async function run(): Promise<Result[]> {
  await mkdir(FOLDER, { recursive: true });
  await writeFile(path.join(FOLDER, 'package.json'), JSON.stringify({ private: true, dependencies: PEERS }));
  await promisify(execFile)('npm', ['install', '--no-audit', '--no-fund', '--silent'], { cwd: FOLDER });
  return [await onRunpod()];
}

async function onRunpod(): Promise<Result> {
  await using standIn = await runpodStandIn({ apiKey: 'k', picture: PICTURE });
  await using service = createComfyUIService({
    // Without the provider's limits, which no peer keeps either.
    adapters: { runpod: { ...runpod({ apiUrl: standIn.url, endpointId: 'e', apiKey: 'k' }), limits: {} } },
  });
  const sdk = runpodModule.parse(await load('runpod-sdk/dist/src/index.js')).default;
  const endpoint = method(sdk('k', { baseUrl: standIn.url }), 'endpoint')('e');
  const runJob = method(endpoint, 'run');
  const statusOf = method(endpoint, 'status');
  const ours = await perSecond(async () => {
    const job = await service.submitWorkflow({ workflow });
    const { status } = await job.status();
    if (status !== 'succeeded') throw new Error(status);
  });
  const peer = await perSecond(async () => {
    const { id } = z
      .object({ id: z.string() })
      .parse(await runJob({ input: { workflow: nodes, images: [] } }));
    const { status } = z.object({ status: z.string() }).parse(await statusOf(id));
    if (status !== 'COMPLETED') throw new Error(status);
  });
  return result('submit and status on RunPod', ours, peer, `runpod-sdk ${PEERS['runpod-sdk']}`);
}

/** A method that keeps its `this`. */
function method(owner: unknown, name: string): (...args: readonly unknown[]) => unknown {
  const found: unknown = typeof owner === 'object' && owner !== null ? Reflect.get(owner, name) : undefined;
  return anyFunction.parse(typeof found === 'function' ? found.bind(owner) : undefined);
}

async function load(file: string): Promise<unknown> {
  return import(pathToFileURL(path.join(FOLDER, 'node_modules', file)).href);
}

async function perSecond(job: () => Promise<void>): Promise<number> {
  await all(job, WARM_UP);
  const started = performance.now();
  await all(job, JOBS);
  return (JOBS / (performance.now() - started)) * 1000;
}

async function all(job: () => Promise<void>, count: number): Promise<void> {
  let begun = 0;
  const caller = async (): Promise<void> => {
    while (begun < count) {
      begun += 1;
      await job();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, caller));
}

function result(name: string, ours: number, peer: number, peerName: string): Result {
  return { name, ours, peer, peerName, ratio: ours / peer, unit: 'jobs/s' };
}
