/**
 * A job's round trip through the service beside the clients that others have made, each on its backend's stand-in, which
 * is a process of its own; 16 at once. The peers are installed for this run only, into a folder of its own.
 */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

import type { BenchResult } from '@ryla/test-support';
import { parseApiWorkflow } from '@ryla/workflow';
import { z } from 'zod';

import { type Adapter, comfyui, createComfyUIService, modal, runpod } from '../src/index.ts';
import { inTurns, result } from './rounds.ts';
import { startStandIn, TOKEN } from './stand-in.ts';

/** Pinned, so that the figures say what they are of. */
const PEERS = { 'runpod-sdk': '1.1.2', '@comfyorg/sdk': '0.1.9', '@saintno/comfyui-sdk': '0.3.1' } as const;

const FOLDER = path.resolve(import.meta.dirname, '../../../node_modules/.cache/ryla-bench-peers');
const ROUNDS = { jobs: 600, warmUp: 1_500, rounds: 3, atOnce: 16 } as const;
const nodes = {
  '1': { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 0 } },
  '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'x' } },
};
const workflow = parseApiWorkflow(nodes);

type Method = (...args: readonly unknown[]) => unknown;
const anyFunction = z.custom<Method>((value) => typeof value === 'function');
const newable = z.custom<new (...args: readonly unknown[]) => unknown>(
  (value) => typeof value === 'function',
);

/** Jobs a second with the service and with each peer. */
export async function run(): Promise<BenchResult[]> {
  await mkdir(FOLDER, { recursive: true });
  await writeFile(path.join(FOLDER, 'package.json'), JSON.stringify({ private: true, dependencies: PEERS }));
  await promisify(execFile)('npm', ['install', '--no-audit', '--no-fund', '--silent'], { cwd: FOLDER });
  return [await onRunpod(), await onComfyApi(), await onComfyui()];
}

/** Submit and look until the end; nothing is downloaded. */
async function onRunpod(): Promise<BenchResult> {
  await using standIn = await startStandIn('runpod');
  await using service = serviceOn(runpod({ apiUrl: standIn.url, endpointId: 'e', apiKey: TOKEN }));
  const sdk = z.object({ default: anyFunction }).parse(await load('runpod-sdk/dist/src/index.js')).default;
  const endpoint = method(sdk(TOKEN, { baseUrl: standIn.url }), 'endpoint')('e');
  const runJob = method(endpoint, 'run');
  const statusOf = method(endpoint, 'status');
  const ours = async (): Promise<void> => {
    const job = await service.submitWorkflow({ workflow });
    expectStatus((await job.status()).status, 'succeeded');
  };
  const peer = async (): Promise<void> => {
    const { id } = z
      .object({ id: z.string() })
      .parse(await runJob({ input: { workflow: nodes, images: [] } }));
    expectStatus(z.object({ status: z.string() }).parse(await statusOf(id)).status, 'COMPLETED');
  };
  const paired = await inTurns(ours, peer, ROUNDS);
  return beside('submit and status on RunPod', paired, 'runpod-sdk');
}

/** Submit, look until the end, download. */
async function onComfyApi(): Promise<BenchResult> {
  await using standIn = await startStandIn('comfy-api');
  await using service = serviceOn(modal({ baseUrl: standIn.url, auth: { type: 'bearer', token: TOKEN } }));
  const { Comfy } = z.object({ Comfy: newable }).parse(await load('@comfyorg/sdk/dist/index.js'));
  process.env['COMFY_BASE_URL'] = standIn.url;
  const client = new Comfy({ apiKey: TOKEN });
  const submit = method(client, 'submit');
  const fromJson = method(property(client, 'workflows'), 'fromJson');
  const ours = async (): Promise<void> => {
    const job = await service.submitWorkflow({ workflow });
    expectStatus((await job.status()).status, 'succeeded');
    await (await job.result()).outputs[0]?.bytes();
  };
  const peer = async (): Promise<void> => {
    const job = await submit(fromJson(nodes));
    await method(job, 'wait')();
    expectStatus(property(job, 'status'), 'succeeded');
    const [output] = z.array(z.unknown()).parse(property(job, 'outputs'));
    await method(output, 'toBytes')();
  };
  const paired = await inTurns(ours, peer, ROUNDS);
  return beside('submit, status, download on Comfy API v2', paired, '@comfyorg/sdk');
}

/** Submit, look until the end, download; the peer by its plain calls, without its WebSocket. */
async function onComfyui(): Promise<BenchResult> {
  await using standIn = await startStandIn('comfyui');
  await using service = serviceOn(comfyui({ baseUrl: standIn.url }));
  const { ComfyApi } = z
    .object({ ComfyApi: newable })
    .parse(await load('@saintno/comfyui-sdk/build/index.esm.js'));
  const client = new ComfyApi(standIn.url, 'bench');
  const queue = method(client, 'queuePrompt');
  const history = method(client, 'getHistory');
  const image = method(client, 'getImage');
  const queued = z.object({ prompt_id: z.string() });
  const entry = z.object({ outputs: z.object({ '2': z.object({ images: z.array(z.unknown()) }) }) });
  const ours = async (): Promise<void> => {
    const job = await service.submitWorkflow({ workflow });
    expectStatus((await job.status()).status, 'succeeded');
    await (await job.result()).outputs[0]?.bytes();
  };
  const peer = async (): Promise<void> => {
    const { prompt_id: id } = queued.parse(await queue(null, nodes));
    const { outputs } = entry.parse(await history(id));
    const blob = z.instanceof(Blob).parse(await image(outputs['2'].images[0]));
    await blob.arrayBuffer();
  };
  const paired = await inTurns(ours, peer, ROUNDS);
  return beside('submit, status, download on ComfyUI', paired, '@saintno/comfyui-sdk');
}

/** Without the provider's limits, which no peer keeps either. */
function serviceOn(adapter: Adapter) {
  return createComfyUIService({ adapters: { only: { ...adapter, limits: {} } } });
}

function beside(
  name: string,
  { ours, peer }: { readonly ours: number; readonly peer: number },
  of: keyof typeof PEERS,
): BenchResult {
  return result(`${name}, 16 at once`, ours, peer, `${of} ${PEERS[of]}`, 'jobs/s');
}

function expectStatus(status: unknown, expected: string): void {
  if (status !== expected) throw new Error(`A job is ${String(status)}, not ${expected}.`);
}

function property(owner: unknown, name: string): unknown {
  return typeof owner === 'object' && owner !== null ? Reflect.get(owner, name) : undefined;
}

/** A method that keeps its `this`. */
function method(owner: unknown, name: string): Method {
  const found = property(owner, name);
  return anyFunction.parse(typeof found === 'function' ? found.bind(owner) : undefined);
}

async function load(file: string): Promise<unknown> {
  return import(pathToFileURL(path.join(FOLDER, 'node_modules', file)).href);
}
