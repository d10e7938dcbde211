import { afterAll, beforeAll, describe, it } from 'vitest';

import { modal } from '../adapters/modal.ts';
import { runpod } from '../adapters/runpod.ts';
import { adapterConformance, type ConformanceTarget } from './adapter-conformance.ts';
import { comfyApiStandIn } from './comfy-api-stand-in.ts';
import type { HttpStandIn } from './http-stand-in.ts';
import { greyPng } from './png.ts';
import { runpodStandIn } from './runpod-stand-in.ts';

const picture = greyPng(8, 8);

async function modalTarget(): Promise<readonly [HttpStandIn, ConformanceTarget]> {
  const prefix = '/_w/acme--api';
  const standIn = await comfyApiStandIn({ token: 'right', picture, prefix });
  const baseUrl = standIn.url + prefix;
  const adapter = modal({ baseUrl, auth: { type: 'bearer', token: 'right' } });
  const stranger = modal({ baseUrl, auth: { type: 'bearer', token: 'wrong' } });
  return [standIn, { adapter, stranger, picture, timeoutMs: 5_000 }];
}

async function runpodTarget(): Promise<readonly [HttpStandIn, ConformanceTarget]> {
  const standIn = await runpodStandIn({ apiKey: 'right', picture });
  const apiUrl = `${standIn.url}/v2`;
  const adapter = runpod({ apiUrl, endpointId: 'unit', apiKey: 'right' });
  const stranger = runpod({ apiUrl, endpointId: 'unit', apiKey: 'wrong' });
  return [standIn, { adapter, stranger, picture, timeoutMs: 5_000 }];
}

describe.each([
  { backend: 'modal', start: modalTarget },
  { backend: 'runpod', start: runpodTarget },
])('conformance of $backend against a stand-in', ({ start }) => {
  let standIn: HttpStandIn;
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
