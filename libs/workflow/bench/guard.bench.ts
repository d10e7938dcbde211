/** The guard for workflows beside a zod schema of the same shape, which checks no links. 200 nodes. */
import { z } from 'zod';

import { parseApiWorkflow } from '../src/index.ts';

const NODES = 200;
const CALLS = 2_000;
const ROUNDS = 7;

const peer = z.record(
  z.string(),
  z.object({ class_type: z.string().min(1), inputs: z.record(z.string(), z.json()) }),
);

/** Microseconds a call, the best of several rounds, ours and zod's in turn. */
export async function run(): Promise<
  { name: string; ours: number; peer: number; peerName: string; ratio: number; unit: string }[]
> {
  const workflow = chain();
  let ours = Infinity;
  let theirs = Infinity;
  for (let round = 0; round < ROUNDS; round += 1) {
    ours = Math.min(
      ours,
      microseconds(() => parseApiWorkflow(workflow)),
    );
    theirs = Math.min(
      theirs,
      microseconds(() => peer.parse(workflow)),
    );
  }
  return Promise.resolve([
    {
      name: `guard of ${NODES} nodes`,
      ours,
      peer: theirs,
      peerName: 'zod',
      ratio: ours / theirs,
      unit: 'µs',
    },
  ]);
}

function chain(): Record<string, unknown> {
  return Object.fromEntries(
    Array.from({ length: NODES }, (_, index) => [
      String(index),
      {
        class_type: 'KSampler',
        inputs: {
          seed: index,
          cfg: 7.5,
          name: 'euler',
          ...(index === 0 ? {} : { model: [String(index - 1), 0] }),
        },
      },
    ]),
  );
}

function microseconds(call: () => unknown): number {
  const started = performance.now();
  for (let count = 0; count < CALLS; count += 1) call();
  return ((performance.now() - started) * 1_000) / CALLS;
}
