/**
 * The adapter of a plain ComfyUI against comfy-sim, or against the ComfyUI at COMFYUI_URL, behind a proxy that asks
 * for credentials as ComfyUI itself does not.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { type Adapter, type AdapterEvent, comfyui, isTerminal, type JobSubmission } from '@ryla/business';
import { adapterConformance, type AuthorizingProxy, authorizingProxy, greyPng } from '@ryla/business/testing';
import { parseApiWorkflow } from '@ryla/workflow';
import { request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { pythonEnvironment } from './python-environment.ts';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const START_MS = 60_000;
const CASE_MS = 60_000;
const realUrl = process.env['COMFYUI_URL'];

/** comfy-sim in a process of its own, or the server that the environment names. */
async function startEngine(): Promise<readonly [url: string, stop: () => Promise<void>]> {
  if (realUrl !== undefined) return [realUrl, () => Promise.resolve()];
  const { bin } = pythonEnvironment(workspaceRoot);
  const args = ['--listen', '127.0.0.1', '--port', '0', '--sim-step-ms', '30'];
  const child = spawn(path.join(bin, 'comfy-sim'), args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const url = await addressOf(child);
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  };
  return [url, stop];
}

async function addressOf(child: ChildProcess): Promise<string> {
  if (child.stderr === null) throw new Error('no output');
  for await (const line of createInterface({ input: child.stderr })) {
    const url = /go to: (http:\S+)/.exec(line)?.[1];
    if (url === undefined) continue;
    child.stderr.resume();
    return url;
  }
  throw new Error(`comfy-sim ended with exit code ${child.exitCode ?? 'none'}`);
}

function job(nodes: object): JobSubmission {
  const workflow = parseApiWorkflow(nodes);
  return { jobId: randomUUID(), endpoint: undefined, workflow, files: [] };
}

/** A picture that no other job made, so that nothing of it is cached. */
function emptyImage(size = 64): object {
  const color = Math.floor(Math.random() * 0xffffff);
  return { class_type: 'EmptyImage', inputs: { width: size, height: size, batch_size: 1, color } };
}

/** Nodes of a job that takes a second or two. */
const SLOW_NODES = 6;

/** Blurs that keep ComfyUI busy for a while. */
function slowNodes(): object {
  const blurs = Array.from({ length: SLOW_NODES }, (_, index): [string, object] => [
    String(index + 2),
    { class_type: 'ImageBlur', inputs: { image: [String(index + 1), 0], blur_radius: 31, sigma: 9 } },
  ]);
  const saved = {
    class_type: 'SaveImage',
    inputs: { images: [String(SLOW_NODES + 1), 0], filename_prefix: 'slow' },
  };
  return Object.fromEntries<object>([['1', emptyImage(512)], ...blurs, ['20', saved]]);
}

describe(`adapter comfyui against ${realUrl ?? 'comfy-sim'}`, () => {
  const authorization = `Bearer ${randomUUID()}`;
  const picture = greyPng(32, 32);
  let engineUrl: string;
  let stop: () => Promise<void>;
  let proxy: AuthorizingProxy;
  let adapter: Adapter;
  let stranger: Adapter;
  beforeAll(async () => {
    [engineUrl, stop] = await startEngine();
    proxy = await authorizingProxy(engineUrl, authorization);
    adapter = comfyui({ baseUrl: proxy.url, headers: { authorization }, reconnectMs: 20 });
    stranger = comfyui({ baseUrl: proxy.url, headers: { authorization: 'Bearer wrong' } });
  }, START_MS);
  afterAll(async () => {
    await Promise.all([adapter.close(), stranger.close()]);
    await proxy[Symbol.asyncDispose]();
    await stop();
  }, START_MS);

  for (const { name, run } of adapterConformance)
    it(name, { timeout: CASE_MS }, () => run({ adapter, stranger, picture, timeoutMs: CASE_MS }));

  const signal = AbortSignal.timeout(CASE_MS);

  async function follow(submission: JobSubmission, onEvent?: (event: AdapterEvent) => void) {
    const ref = await adapter.submit(submission, { signal });
    const events: AdapterEvent[] = [];
    for await (const event of adapter.events?.(ref, { signal }) ?? []) {
      events.push(event);
      onEvent?.(event);
    }
    return { ref, events, final: await adapter.status(ref, { signal }) };
  }

  it('tells texts and files in subfolders, and no previews, as outputs', { timeout: CASE_MS }, async () => {
    const { final } = await follow(
      job({
        '1': emptyImage(),
        '2': { class_type: 'ImageInvert', inputs: { image: ['1', 0] } },
        '3': { class_type: 'SaveImage', inputs: { images: ['2', 0], filename_prefix: 'sub/dir/pic' } },
        '4': { class_type: 'PreviewImage', inputs: { images: ['1', 0] } },
        '5': { class_type: 'PrimitiveString', inputs: { value: 'hello' } },
        '6': { class_type: 'PreviewAny', inputs: { source: ['5', 0] } },
      }),
    );
    const outputs = final.outputs.toSorted((a, b) => a.nodeId.localeCompare(b.nodeId));
    expect(outputs.map(({ nodeId, kind }) => [nodeId, kind])).toEqual([
      ['3', 'image'],
      ['6', 'text'],
    ]);
    expect(Buffer.from((await outputs[0]?.bytes()) ?? []).toString('latin1', 1, 4)).toBe('PNG');
    expect(Buffer.from((await outputs[1]?.bytes()) ?? []).toString()).toBe('hello');
  });

  it('goes on by itself when its WebSocket breaks', { timeout: CASE_MS }, async () => {
    let drops = 0;
    const { events, final } = await follow(job(slowNodes()), () => {
      if (drops++ < 3) proxy.dropSockets();
    });
    expect(final.status).toBe('succeeded');
    expect(events.filter(({ type }) => type === 'output')).toHaveLength(1);
    const done = events.flatMap((event) =>
      event.type === 'snapshot' ? [event.snapshot.progress?.value ?? 0] : [],
    );
    expect(Math.max(...done)).toBeGreaterThan(0.5);
    expect(events.at(-1)).toMatchObject({ type: 'snapshot', snapshot: { status: 'succeeded' } });
  });

  it('cancels what runs and what waits, and nothing else', { timeout: CASE_MS }, async () => {
    const jobs = [job(slowNodes()), job(slowNodes()), job(slowNodes())];
    const refs = await Promise.all(jobs.map((each) => adapter.submit(each, { signal })));
    const [first, second] = refs;
    await Promise.all([first, second].map((ref) => adapter.cancel(ref ?? {}, { signal })));
    const ends = await Promise.all(
      refs.map(async (ref) => {
        for await (const event of adapter.events?.(ref, { signal }) ?? [])
          if (event.type === 'snapshot' && isTerminal(event.snapshot.status)) return event.snapshot.status;
        return 'no end';
      }),
    );
    expect(ends).toEqual(['canceled', 'canceled', 'succeeded']);
  });

  it('finds jobs of another process and follows them', { timeout: CASE_MS }, async () => {
    const submission = job(slowNodes());
    await adapter.submit(submission, { signal });
    const heir = comfyui({ baseUrl: proxy.url, headers: { authorization }, quietMs: 100 });
    try {
      const ref = await heir.lookup?.(submission.jobId, { signal });
      expect(ref).toEqual({ id: submission.jobId });
      const events = await Array.fromAsync(heir.events?.(ref ?? {}, { signal }) ?? []);
      expect(events.at(-1)).toMatchObject({ snapshot: { status: 'succeeded' } });
    } finally {
      await heir.close();
    }
  });

  describe.skipIf(realUrl !== undefined)('with the faults of comfy-sim', () => {
    async function fault(spec: string): Promise<void> {
      const response = await request(`${engineUrl}/_sim/faults`, {
        method: 'PUT',
        body: JSON.stringify([spec]),
      });
      expect(response.statusCode).toBe(200);
      await response.body.dump();
    }

    it('goes on with a download that is cut', { timeout: CASE_MS }, async () => {
      const saved = { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'cut' } };
      const { final } = await follow(job({ '1': emptyImage(), '2': saved }));
      const whole = await final.outputs[0]?.bytes();
      await fault('truncate-view:1');
      expect(await final.outputs[0]?.bytes()).toEqual(whole);
    });

    it('tells when the memory was not enough, and at which node', { timeout: CASE_MS }, async () => {
      await fault('oom=ImageInvert:1');
      const inverted = { class_type: 'ImageInvert', inputs: { image: ['1', 0] } };
      const saved = { class_type: 'SaveImage', inputs: { images: ['2', 0], filename_prefix: 'oom' } };
      const { final } = await follow(job({ '1': emptyImage(), '2': inverted, '3': saved }));
      expect(final).toMatchObject({
        status: 'failed',
        error: { code: 'out_of_memory', nodeId: '2', classType: 'ImageInvert' },
      });
    });

    it(
      'does not know whether a 503 took the job, but that the job is not there',
      { timeout: CASE_MS },
      async () => {
        await fault('refuse:1');
        const submission = job({
          '1': emptyImage(),
          '2': { class_type: 'PreviewImage', inputs: { images: ['1', 0] } },
        });
        await expect(adapter.submit(submission, { signal })).rejects.toMatchObject({
          code: 'backend_error',
          accepted: 'unknown',
          retryable: true,
        });
        expect(await adapter.lookup?.(submission.jobId, { signal })).toBeUndefined();
        expect(await adapter.submit(submission, { signal })).toEqual({ id: submission.jobId });
      },
    );

    it('tells previews of a sampler and its steps', { timeout: CASE_MS }, async () => {
      const model = {
        class_type: 'CheckpointLoaderSimple',
        inputs: { ckpt_name: 'random-sd15.safetensors' },
      };
      const text = (words: string): object => ({
        class_type: 'CLIPTextEncode',
        inputs: { text: words, clip: ['4', 1] },
      });
      const sampler = {
        ...{ seed: 1, steps: 6, cfg: 7, sampler_name: 'euler', scheduler: 'normal', denoise: 1 },
        ...{ model: ['4', 0], positive: ['6', 0], negative: ['7', 0], latent_image: ['5', 0] },
      };
      const latent = { width: 64, height: 64, batch_size: 1 };
      const { events } = await follow(
        job({
          '3': { class_type: 'KSampler', inputs: sampler },
          '4': model,
          '5': { class_type: 'EmptyLatentImage', inputs: latent },
          '6': text('a red apple'),
          '7': text('blurry'),
          '8': { class_type: 'VAEDecode', inputs: { samples: ['3', 0], vae: ['4', 2] } },
          '9': { class_type: 'SaveImage', inputs: { images: ['8', 0], filename_prefix: 'sd' } },
        }),
      );
      const preview = events.find(({ type }) => type === 'preview');
      expect(preview).toMatchObject({ node: '3', contentType: 'image/jpeg' });
      const steps = events.flatMap((event) =>
        event.type === 'snapshot' ? [event.snapshot.progress?.step] : [],
      );
      expect(steps.some((step) => step !== undefined && step > 1 && step < 6)).toBe(true);
    });
  });
});
