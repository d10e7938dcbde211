/** A job's round trip through the service beside the same requests by bare undici, on one stand-in. */
import { createComfyUIService, modal } from '../src/index.ts';
import { comfyApiStandIn, greyPng } from '../src/testing/index.ts';
import { parseApiWorkflow } from '@ryla/workflow';
import { Agent, request } from 'undici';

const TOKEN = 'bench';
const ROUNDS = 400;
const WARM_UP = 100;

const workflow = parseApiWorkflow({
  '1': { class_type: 'EmptyImage', inputs: { width: 8, height: 8, batch_size: 1, color: 0 } },
  '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'x' } },
});

/** Jobs a second, one after the other: submit, status, result. */
export async function run(): Promise<
  { name: string; ours: number; peer: number; peerName: string; ratio: number; unit: string }[]
> {
  await using standIn = await comfyApiStandIn({ token: TOKEN, picture: greyPng(8, 8) });
  await using service = createComfyUIService({
    // Without the provider's limits, which bare undici does not keep either.
    adapters: {
      modal: { ...modal({ baseUrl: standIn.url, auth: { type: 'bearer', token: TOKEN } }), limits: {} },
    },
  });
  const agent = new Agent();
  const throughService = async (): Promise<void> => {
    const handle = await service.submitWorkflow({ workflow });
    await handle.status();
    const { outputs } = await handle.result();
    await outputs[0]?.bytes();
  };
  const ours = await perSecond(throughService);
  const peer = await perSecond(() => bareUndici(standIn.url, agent));
  await agent.close();
  return [
    {
      name: 'submit, status, result, download',
      ours,
      peer,
      peerName: 'bare undici',
      ratio: ours / peer,
      unit: 'jobs/s',
    },
  ];
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

async function perSecond(job: () => Promise<void>): Promise<number> {
  for (let round = 0; round < WARM_UP; round += 1) await job();
  const started = performance.now();
  for (let round = 0; round < ROUNDS; round += 1) await job();
  return (ROUNDS * 1000) / (performance.now() - started);
}
