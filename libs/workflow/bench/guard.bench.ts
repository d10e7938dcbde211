/**
 * The guard for workflows beside schemas of the same shape, which check no links and no circles: zod, ajv (compiled) and
 * typebox (compiled). 200 nodes. ajv and typebox are installed for this run only, into a folder of their own.
 */
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { promisify } from 'node:util';

import { z } from 'zod';

import { parseApiWorkflow } from '../src/index.ts';

/** Pinned, so that the figures say what they are of. */
const PEERS = { ajv: '8.20.0', '@sinclair/typebox': '0.34.52' } as const;

const FOLDER = path.resolve(import.meta.dirname, '../../../node_modules/.cache/ryla-bench-guards');
const NODES = 200;
const CALLS = 500;
const ROUNDS = 30;

/** JSON Schema of what the guard lets through, but for links to nodes that exist and circles. */
const SCHEMA = {
  type: 'object',
  minProperties: 1,
  additionalProperties: {
    type: 'object',
    required: ['class_type', 'inputs'],
    properties: { class_type: { type: 'string', minLength: 1 }, inputs: { type: 'object' } },
  },
};

const schema = z.record(
  z.string(),
  z.object({ class_type: z.string().min(1), inputs: z.record(z.string(), z.json()) }),
);

interface Guard {
  readonly name: string;
  readonly check: (workflow: unknown) => unknown;
}

/** Microseconds a call, the best of several rounds, all guards in turn. */
export async function run(): Promise<
  { name: string; ours: number; peer: number; peerName: string; ratio: number; unit: string }[]
> {
  const peers = [
    { name: 'zod', check: (value: unknown) => schema.parse(value) },
    ...(await installedPeers()),
  ];
  const orders = [
    ['each linked to the one before it', chain((index) => index - 1)],
    ['linked in no order', chain((index) => (index % 2 === 0 ? index + 2 : index - 2))],
  ] as const;
  return orders.flatMap(([order, workflow]) => {
    const ours = { name: 'ours', check: parseApiWorkflow };
    const best = timings([ours, ...peers], workflow);
    return peers.map(({ name: peerName }) => {
      const [own = NaN, peer = NaN] = [best.get('ours'), best.get(peerName)];
      const name = `guard of ${NODES} nodes, ${order}`;
      return { name, ours: own, peer, peerName, ratio: own / peer, unit: 'µs' };
    });
  });
}

function timings(guards: readonly Guard[], workflow: unknown): ReadonlyMap<string, number> {
  const best = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const { name, check } of guards)
      best.set(
        name,
        Math.min(
          best.get(name) ?? Infinity,
          microseconds(() => check(workflow)),
        ),
      );
  }
  return best;
}

async function installedPeers(): Promise<Guard[]> {
  await mkdir(FOLDER, { recursive: true });
  await writeFile(path.join(FOLDER, 'package.json'), JSON.stringify({ private: true, dependencies: PEERS }));
  await promisify(execFile)('npm', ['install', '--no-audit', '--no-fund', '--silent'], { cwd: FOLDER });
  const require = createRequire(path.join(FOLDER, 'package.json'));
  const checker = z.custom<(value: unknown) => boolean>((value) => typeof value === 'function');
  const Ajv = z
    .custom<new () => { compile(schema: object): unknown }>((value) => typeof value === 'function')
    .parse(require('ajv'));
  const { TypeCompiler } = z
    .object({ TypeCompiler: z.custom<{ Compile(type: object): { Check(value: unknown): boolean } }>() })
    .parse(require('@sinclair/typebox/compiler'));
  const { Type } = z
    .object({
      Type: z.custom<Record<'Record' | 'Object' | 'String' | 'Unknown', (...args: unknown[]) => object>>(),
    })
    .parse(require('@sinclair/typebox'));
  const text = (options?: object) => Type.String(options);
  const node = Type.Object({
    class_type: text({ minLength: 1 }),
    inputs: Type.Record(text(), Type.Unknown()),
  });
  const compiled = TypeCompiler.Compile(Type.Record(text(), node));
  return [
    { name: `ajv ${PEERS.ajv}, no input looked at`, check: checker.parse(new Ajv().compile(SCHEMA)) },
    {
      name: `typebox ${PEERS['@sinclair/typebox']}, no input looked at`,
      check: (value) => compiled.Check(value),
    },
  ];
}

/** Every node but one has a link. */
function chain(sourceOf: (index: number) => number): Record<string, unknown> {
  const nodes = Array.from({ length: NODES }, (_, index): [string, unknown] => {
    const source = sourceOf(index);
    const model = source >= 0 && source < NODES ? { model: [`n${source}`, 0] } : {};
    return [
      `n${index}`,
      { class_type: 'KSampler', inputs: { seed: index, cfg: 7.5, name: 'euler', ...model } },
    ];
  });
  return Object.fromEntries(nodes);
}

function microseconds(call: () => unknown): number {
  const started = performance.now();
  for (let count = 0; count < CALLS; count += 1) call();
  return ((performance.now() - started) * 1_000) / CALLS;
}
