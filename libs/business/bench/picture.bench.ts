/** A picture of 10 MB from a job that has ended to its last byte, beside a raw streamed download of the same bytes. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { Agent, request } from 'undici';

import { modal, runpod } from '../src/index.ts';

const SIZE = 10 * 1024 * 1024;
const ROUNDS = 12;
const WARM_UP = 3;
const picture = randomBytes(SIZE);
const SIGNAL = new AbortController().signal;

/** Milliseconds by each way. */
export async function run(): Promise<
  { name: string; ours: number; peer: number; peerName: string; ratio: number; unit: string }[]
> {
  const envelope = Buffer.from(
    JSON.stringify({
      id: 'j',
      status: 'COMPLETED',
      output: {
        images: [
          { filename: 'a.png', type: 'base64', data: picture.toString('base64'), nodeId: '2', size: SIZE },
        ],
      },
    }),
  );
  const job = {
    id: 'j',
    status: 'succeeded',
    outputs: [
      {
        node_id: '2',
        name: 'a.png',
        type: 'image',
        content_type: 'image/png',
        size_bytes: SIZE,
        id: 'o',
        url: '/o',
      },
    ],
  };
  const server = createServer((incoming, response) => {
    const path = incoming.url ?? '';
    if (path.includes('/status/'))
      response.writeHead(200, { 'content-length': envelope.length }).end(envelope);
    else if (path.endsWith('/jobs/j')) response.writeHead(200).end(JSON.stringify(job));
    else response.writeHead(200, { 'content-length': SIZE }).end(picture);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  const agent = new Agent();
  const onModal = modal({ baseUrl: url, auth: { type: 'bearer', token: 't' } });
  const onRunpod = runpod({ apiUrl: url, endpointId: 'e', apiKey: 'k' });
  try {
    const raw = await milliseconds(async () => {
      const answer = await request(`${url}/raw`, { dispatcher: agent });
      return read(answer.body);
    });
    const streamed = await milliseconds(async () => {
      const [output] = (await onModal.status({ id: 'j' }, { signal: SIGNAL })).outputs;
      return read(output?.stream() ?? []);
    });
    const inline = await milliseconds(async () => {
      const [output] = (await onRunpod.status({ id: 'j' }, { signal: SIGNAL })).outputs;
      return read(output?.stream() ?? []);
    });
    return [
      { ...named('10 MB picture from Modal', streamed, raw) },
      { ...named('10 MB picture from RunPod (base64 in JSON)', inline, raw) },
    ];
  } finally {
    await Promise.all([onModal.close(), onRunpod.close(), agent.close()]);
    server.close();
  }
}

function named(name: string, ours: number, peer: number) {
  return { name, ours, peer, peerName: 'raw streamed download', ratio: ours / peer, unit: 'ms' };
}

async function read(pieces: AsyncIterable<unknown> | Iterable<unknown>): Promise<number> {
  let size = 0;
  for await (const piece of pieces) if (piece instanceof Uint8Array) size += piece.length;
  if (size !== SIZE) throw new Error(`${size} bytes arrived`);
  return size;
}

/** The middle one of several rounds. */
async function milliseconds(work: () => Promise<number>): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
    const started = performance.now();
    await work();
    if (round >= WARM_UP) times.push(performance.now() - started);
  }
  return times.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? NaN;
}
