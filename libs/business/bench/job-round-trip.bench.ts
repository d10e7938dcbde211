/** A job's round trip through the service beside the same requests by bare undici, on one stand-in in its own process. */
import type { BenchResult } from '@ryla/test-support';
import { parseApiWorkflow } from '@ryla/workflow';
import { Agent, request } from 'undici';

import { createComfyUIService, modal } from '../src/index.ts';
import { inTurns, result } from './rounds.ts';
import { startStandIn, TOKEN } from './stand-in.ts';

const workflow = parseApiWorkflow({
  '1': { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 0 } },
  '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'x' } },
});

const name = 'submit, status, result, download';

/** Milliseconds that an answer takes from a server that is not on this machine: one in the same region, and the next city. */
const DISTANCES = [2, 5];

/** Jobs a second: submit, status, result, download; and what one takes of the processor. */
export async function run(): Promise<BenchResult[]> {
  const near = await nextDoor();
  const far = [];
  for (const delayMs of DISTANCES) far.push(await atDistance(delayMs));
  return [...near, ...far];
}

/** The server answers at once: all that is measured is the processor's work. */
async function nextDoor(): Promise<BenchResult[]> {
  await using pair = await contenders(0);
  // A service lives long: what it does is compiled before it is measured.
  const rounds = { jobs: 2_000, warmUp: 4_000, rounds: 5 };
  const alone = await inTurns(pair.ours, pair.bare, { ...rounds, atOnce: 1 });
  const together = await inTurns(pair.ours, pair.bare, { ...rounds, atOnce: 16 });
  return [
    result(`${name}, one after the other`, alone.ours, alone.peer, 'bare undici', 'jobs/s'),
    result(`${name}, 16 at once`, together.ours, together.peer, 'bare undici', 'jobs/s'),
    result(`${name}, 16 at once`, together.oursUs, together.peerUs, 'bare undici', 'µs of processor a job'),
  ];
}

async function atDistance(delayMs: number): Promise<BenchResult> {
  await using pair = await contenders(delayMs);
  const { ours, peer } = await inTurns(pair.ours, pair.bare, {
    jobs: 2_000,
    warmUp: 2_000,
    rounds: 5,
    atOnce: 16,
  });
  return result(`${name}, 16 at once, answers ${delayMs} ms later`, ours, peer, 'bare undici', 'jobs/s');
}

interface Contenders extends AsyncDisposable {
  readonly ours: () => Promise<void>;
  readonly bare: () => Promise<void>;
}

async function contenders(delayMs: number): Promise<Contenders> {
  const standIn = await startStandIn('comfy-api', { delayMs });
  const service = createComfyUIService({
    // Without the provider's limits, which bare undici does not keep either.
    adapters: {
      modal: { ...modal({ baseUrl: standIn.url, auth: { type: 'bearer', token: TOKEN } }), limits: {} },
    },
  });
  const agent = new Agent();
  return {
    async ours() {
      const handle = await service.submitWorkflow({ workflow });
      await handle.status();
      const { outputs } = await handle.result();
      await outputs[0]?.bytes();
    },
    bare: () => bareUndici(standIn.url, agent),
    async [Symbol.asyncDispose]() {
      await Promise.all([agent.close(), service.close()]);
      await standIn[Symbol.asyncDispose]();
    },
  };
}

async function bareUndici(url: string, dispatcher: Agent): Promise<void> {
  const headers = {
    authorization: `Bearer ${TOKEN}`,
    'content-type': 'application/json',
    'ryla-job-id': crypto.randomUUID(),
  };
  const body = JSON.stringify({ workflow });
  const posted = await request(`${url}/api/v2/jobs`, { dispatcher, method: 'POST', headers, body });
  const { id } = (await posted.body.json()) as { readonly id: string };
  const status = await request(`${url}/api/v2/jobs/${id}`, { dispatcher, headers });
  const { outputs } = (await status.body.json()) as { readonly outputs: readonly { readonly id: string }[] };
  const content = await request(`${url}/api/v2/assets/${outputs[0]?.id ?? ''}/content`, {
    dispatcher,
    headers,
  });
  await content.body.arrayBuffer();
}
