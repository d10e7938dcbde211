/**
 * A picture of 10 MiB from a job that has ended, asked for its status, to its last byte, beside a raw streamed download of
 * the same bytes by one request; from a server in a process of its own.
 */
import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import type { BenchResult } from '@ryla/test-support';
import { Agent, request } from 'undici';
import { z } from 'zod';

import { type Adapter, modal, runpod } from '../src/index.ts';
import { result } from './rounds.ts';
import { startStandIn } from './stand-in.ts';

const SIZE = 10 * 1024 * 1024;
const MIB = 1024 * 1024;
/** Bytes that a socket is read for at once. */
const PIECE = 64 * 1024;
const ROUNDS = 30;
const WARM_UP = 10;
const SIGNAL = new AbortController().signal;

type Way = () => Promise<AsyncIterable<unknown>>;

/** Milliseconds and memory by each way. */
export async function run(): Promise<BenchResult[]> {
  await using server = await startStandIn('pictures', { program: 'picture-server.ts' });
  const { url } = server;
  const agent = new Agent();
  const onModal = modal({ baseUrl: url, auth: { type: 'bearer', token: 't' } });
  const onRunpod = runpod({ apiUrl: url, endpointId: 'e', apiKey: 'k' });
  const raw: Way = async () => (await request(`${url}/raw`, { dispatcher: agent })).body;
  const ways = { raw, modal: by(onModal), runpod: by(onRunpod) };
  try {
    const ms = await bestOf(ways);
    const collect = collector();
    const mib = {
      raw: await memoryOf(raw, collect),
      modal: await memoryOf(ways.modal, collect),
      runpod: await memoryOf(ways.runpod, collect),
    };
    const peer = 'raw streamed download';
    return [
      result('10 MiB picture from Modal, status included', ms.modal, ms.raw, peer, 'ms'),
      result('10 MiB picture from RunPod (base64 in JSON)', ms.runpod, ms.raw, peer, 'ms'),
      result('10 MiB picture from Modal, most memory', mib.modal, mib.raw, peer, 'MiB'),
      result('10 MiB picture from RunPod, most memory', mib.runpod, mib.raw, peer, 'MiB'),
    ];
  } finally {
    await Promise.all([onModal.close(), onRunpod.close(), agent.close()]);
  }
}

function by(adapter: Adapter): Way {
  return async () => {
    const [output] = (await adapter.status({ id: 'j' }, { signal: SIGNAL })).outputs;
    if (output === undefined) throw new Error('The job has no output.');
    return output.stream();
  };
}

/** Milliseconds of the best round of each, in turns: other work on the machine can only make a round slower. */
async function bestOf<Name extends string>(ways: Readonly<Record<Name, Way>>): Promise<Record<Name, number>> {
  const best: Partial<Record<Name, number>> = {};
  const names = z.custom<Name[]>().parse(Object.keys(ways));
  for (let round = 0; round < WARM_UP + ROUNDS; round += 1) {
    for (const name of names) {
      const started = performance.now();
      await read(await ways[name]());
      if (round >= WARM_UP) best[name] = Math.min(best[name] ?? Infinity, performance.now() - started);
    }
  }
  return best as Record<Name, number>;
}

async function read(pieces: AsyncIterable<unknown>, look: () => void = () => undefined): Promise<void> {
  let size = 0;
  for await (const piece of pieces) {
    if (piece instanceof Uint8Array) size += piece.length;
    look();
  }
  if (size !== SIZE) throw new Error(`${size} bytes arrived`);
}

/** MiB that are in use at most while a picture arrives, garbage not counted; the least of three rounds, a piece at least. */
async function memoryOf(way: Way, collect: () => void): Promise<number> {
  const found: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    collect();
    const before = used();
    let most = 0;
    let pieces = 0;
    await read(await way(), () => {
      // Collecting is slow: at every eighth piece.
      if ((pieces += 1) % 8 !== 0) return;
      collect();
      most = Math.max(most, used() - before);
    });
    found.push(most / MIB);
  }
  return Math.max(PIECE / MIB, Math.min(...found));
}

function used(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function collector(): () => void {
  setFlagsFromString('--expose-gc');
  return z.custom<() => void>((value) => typeof value === 'function').parse(runInNewContext('gc'));
}
