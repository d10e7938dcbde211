/** The real workspace's graph, in a copy that may be changed: arrows, what a change selects, what moves a fingerprint. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { WorkspaceCopy } from '../test-support/workspace-copy.ts';

const ENDPOINTS = ['flux-schnell', 'photo-finish', 'z-image-turbo'];
const APPS = ['modal', 'runpod'];
/** DESIGN's arrows by kind; endpoints reach apps by the two implied edges alone. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  app: ['lib'],
  endpoint: ['lib', 'app'],
  lib: ['lib'],
  tool: ['lib', 'tool', 'endpoint'],
};
/** From libraries and endpoints, the edges that DESIGN names one by one. */
const NAMED: Readonly<Record<string, readonly string[]>> = {
  business: ['workflow', 'test-support'],
  workflow: ['test-support'],
  'test-support': [],
  'runpod-management': ['workflow'],
  worker: [],
  modal: ['worker'],
  runpod: ['worker'],
  cli: ['business', 'migration', 'runpod-management', 'test-support', 'video-frames', 'workflow'],
  'flux-schnell': ['modal', 'runpod', 'workflow'],
  'photo-finish': ['modal', 'runpod', 'workflow'],
  'z-image-turbo': ['modal', 'runpod', 'workflow'],
};

const graphFile = z.object({
  graph: z.object({
    nodes: z.record(z.string(), z.object({ data: z.object({ tags: z.array(z.string()).default([]) }) })),
    dependencies: z.record(z.string(), z.array(z.object({ target: z.string() }))),
  }),
});

let workspace: WorkspaceCopy;
let copy = '';

beforeAll(async () => {
  workspace = await WorkspaceCopy.make();
  copy = workspace.root;
}, 60_000);
afterAll(() => workspace[Symbol.dispose]());

/** Nx in the copy, apart from the Nx that may be running this test. */
async function nx(...args: string[]): Promise<string> {
  return (await workspace.nx(args)).stdout;
}

async function affectedBy(file: string): Promise<string[]> {
  const stdout = await nx('show', 'projects', '--affected', '--json', `--files=${file}`);
  return z.array(z.string()).parse(JSON.parse(stdout)).sort();
}

describe('the graph', () => {
  it('has no arrow that the design does not allow', { timeout: 30_000 }, async () => {
    const file = path.join(copy, 'graph.json');
    await nx('graph', `--file=${file}`);
    const { nodes, dependencies } = graphFile.parse(JSON.parse(readFileSync(file, 'utf8'))).graph;
    expect(Object.keys(nodes)).toEqual(
      expect.arrayContaining([...ENDPOINTS, ...APPS, 'worker', 'workflow', 'business']),
    );
    const kindOf = (name: string): string =>
      nodes[name]?.data.tags.find((tag) => tag.startsWith('type:'))?.slice('type:'.length) ?? 'none';
    const arrows = Object.entries(dependencies).flatMap(([source, edges]) =>
      edges
        .map(({ target }) => target)
        .filter((target) => target in nodes)
        .map((target) => ({ source, target })),
    );
    const forbidden = arrows.filter(({ source, target }) => {
      const byName = NAMED[source];
      return byName === undefined
        ? !(ALLOWED[kindOf(source)] ?? []).includes(kindOf(target))
        : !byName.includes(target);
    });
    expect(forbidden).toEqual([]);
    for (const endpoint of ENDPOINTS)
      expect(arrows.filter(({ source }) => source === endpoint).map(({ target }) => target)).toEqual(
        expect.arrayContaining(APPS),
      );
  });
});

describe('affected', () => {
  it('selects one endpoint after a change of its workflow', { timeout: 30_000 }, async () => {
    expect(await affectedBy('apps/endpoints/photo-finish/workflow.json')).toEqual(['photo-finish']);
  });

  it('selects both apps and every endpoint after a change of the worker', { timeout: 30_000 }, async () => {
    expect(await affectedBy('libs/worker/src/comfy_worker/__init__.py')).toEqual(
      expect.arrayContaining([...APPS, ...ENDPOINTS, 'worker']),
    );
  });

  it('selects nothing after a change of the docs', { timeout: 30_000 }, async () => {
    expect(await affectedBy('docs/architecture.md')).toEqual([]);
  });
});

describe('fingerprint', () => {
  async function fingerprint(): Promise<string> {
    const stdout = await nx('run', 'photo-finish:fingerprint', '--outputStyle=static');
    return /"fingerprint":"(\w+)"/.exec(stdout)?.[1] ?? '';
  }

  /** On Modal and on RunPod. */
  async function fingerprints(): Promise<readonly string[]> {
    const targets = ['fingerprint', 'fingerprint-runpod'];
    const stdout = await nx('run-many', '-t', ...targets, '-p', 'photo-finish', '--outputStyle=static');
    return targets.map((target) => {
      const printed = new RegExp(`photo-finish:${target}$[^]*?"fingerprint":"(\\w+)"`, 'm').exec(stdout)?.[1];
      expect(printed, stdout).toBeDefined();
      return printed ?? '';
    });
  }

  it(
    'moves with the workflow and the worker, not with docs, tests or another endpoint',
    { timeout: 60_000 },
    async () => {
      const first = await fingerprint();
      expect(first).not.toBe('');
      appendFileSync(path.join(copy, 'apps/endpoints/photo-finish/README.md'), '\nMore.\n');
      appendFileSync(path.join(copy, 'apps/endpoints/photo-finish/client.test.ts'), '\n');
      appendFileSync(path.join(copy, 'apps/endpoints/flux-schnell/workflow.json'), '\n');
      expect(await fingerprint()).toBe(first);
      appendFileSync(path.join(copy, 'apps/endpoints/photo-finish/workflow.json'), '\n');
      const second = await fingerprint();
      expect(second).not.toBe(first);
      appendFileSync(path.join(copy, 'libs/worker/src/comfy_worker/__init__.py'), '\n');
      expect(await fingerprint()).not.toBe(second);
    },
  );

  it(
    'moves with the Python packages that a deployment runs with, and with no other',
    { timeout: 60_000 },
    async () => {
      const file = path.join(copy, 'uv.lock');
      const lock = readFileSync(file, 'utf8');
      const withAnother = async (name: string): Promise<readonly string[]> => {
        const changed = lock.replace(`[[package]]\nname = "${name}"\nversion = "`, '$&99.');
        expect(changed).not.toBe(lock);
        writeFileSync(file, changed);
        return await fingerprints();
      };
      const [modal, runpod] = await fingerprints();
      expect(await withAnother('ruff')).toEqual([modal, runpod]);
      // By way of modal and grpclib; RunPod's image takes nothing from uv.lock.
      const [other, same] = await withAnother('h2');
      expect(other).not.toBe(modal);
      expect(same).toBe(runpod);
      expect(await affectedBy('uv.lock')).toEqual(expect.arrayContaining(ENDPOINTS));
    },
  );
});
