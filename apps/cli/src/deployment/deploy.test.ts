/** What a deploy decides and does, against a cloud in memory; git and Nx are handed in. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type MemoryCloud, memoryCloud } from '../../test-support/memory-cloud.ts';
import { applyPlan, type DeployOptions } from './apply.ts';
import type { Selection } from './candidates.ts';
import type { DeployEntry, PlanEntry } from './deployment-document.ts';
import { makePlan, type Planned } from './plan.ts';

describe('deploy', () => {
  let root = '';
  let cloud: MemoryCloud;
  let stop = new AbortController();
  /** Fingerprints that Nx would compute; `affected` is everything of them without it. */
  let nx: Record<string, string> = {};
  let affected: string[] | null = null;

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'deploy-'));
    mkdirSync(path.join(root, 'apps/endpoints'), { recursive: true });
    cloud = memoryCloud();
    stop = new AbortController();
    nx = {};
    affected = null;
    for (const name of ['placard', 'poster']) add(name, '11111');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  function add(name: string, fingerprint: string, more: object = {}): void {
    const folder = path.join(root, 'apps/endpoints', name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(path.join(folder, 'endpoint.json'), JSON.stringify({ name, title: name, ...more }));
    writeFileSync(path.join(folder, 'workflow.json'), '{"1":{"class_type":"SaveImage","inputs":{}}}');
    nx[name] = fingerprint;
  }

  function git(...args: readonly string[]): string {
    const identity = ['-c', 'user.name=t', '-c', 'user.email=t@example.com'];
    return execFileSync('git', [...identity, ...args], { cwd: root }).toString();
  }

  function commitAll(): void {
    git('init', '-q');
    git('add', '-A');
    git('commit', '-q', '-m', 'one');
  }

  function plan(selection: Selection = { kind: 'all' }): Promise<Planned[]> {
    return makePlan({
      place: { root, folder: path.join(root, 'apps/endpoints'), provider: 'modal' },
      selection,
      cloud,
      commit: null,
      parallel: 2,
      smoke: true,
      inspect: (_root, { endpoints, range }) =>
        Promise.resolve({
          affected: range === null ? null : affected,
          fingerprints: Object.fromEntries(
            endpoints.flatMap((name) => {
              const fingerprint = nx[name];
              return fingerprint === undefined ? [] : [[name, { fingerprint, files: [] }]];
            }),
          ),
        }),
    });
  }

  const actions = (planned: readonly Planned[]): Record<string, PlanEntry['action']> =>
    Object.fromEntries(planned.map(({ entry }) => [entry.endpoint, entry.action]));
  const results = (entries: readonly DeployEntry[]): Record<string, string> =>
    Object.fromEntries(entries.map(({ endpoint, result }) => [endpoint, result]));
  const apply = (planned: readonly Planned[], options: Partial<DeployOptions> = {}): Promise<DeployEntry[]> =>
    applyPlan(planned, cloud, {
      allowUndeploy: false,
      smoke: true,
      parallel: 2,
      signal: stop.signal,
      onStep: () => undefined,
      ...options,
    });

  it('deploys what is not live, then nothing, then only what differs', async () => {
    expect(actions(await plan())).toEqual({ placard: 'create', poster: 'create' });
    expect(results(await apply(await plan()))).toEqual({ placard: 'deployed', poster: 'deployed' });
    expect(actions(await plan())).toEqual({ placard: 'unchanged', poster: 'unchanged' });
    nx['poster'] = '22222';
    cloud.done.length = 0;
    const entries = await apply(await plan());
    expect(results(entries)).toEqual({ placard: 'unchanged', poster: 'deployed' });
    expect(entries.find(({ endpoint }) => endpoint === 'poster')).toMatchObject({
      version: 'v2',
      smoke: { status: 'succeeded' },
      liveFingerprint: '11111',
      fingerprint: '22222',
    });
    expect(cloud.done).toEqual(['deploy poster']);
  });

  it('looks only at what is affected, and lets the fingerprint decide', async () => {
    commitAll();
    await apply(await plan());
    add('third', '11111');
    nx = { placard: '22222', poster: '11111', third: '11111' };
    affected = ['poster', 'third', 'worker'];
    const head = git('rev-parse', 'HEAD').trim();
    const range = { base: head, head, headIsNamed: false };
    expect(actions(await plan({ kind: 'affected', range }))).toEqual({
      poster: 'unchanged',
      third: 'create',
    });
    const first = { ...range, base: null };
    expect(actions(await plan({ kind: 'affected', range: first }))).toMatchObject({ placard: 'update' });
  });

  it('replaces what was deployed by hand', async () => {
    cloud.put('poster', null);
    const [entry] = await plan({ kind: 'named', names: ['poster'] });
    expect(entry?.entry).toMatchObject({ action: 'update', liveFingerprint: null });
  });

  it('goes back when the smoke job fails, and deploys the others', async () => {
    cloud.put('poster', '99999');
    cloud.broken.add('poster').add('placard');
    add('third', '11111');
    const entries = await apply(await plan());
    expect(results(entries)).toEqual({ placard: 'rolled_back', poster: 'rolled_back', third: 'deployed' });
    expect(entries.find(({ endpoint }) => endpoint === 'poster')?.error).toMatch(/no such node.*back to v1/);
    expect(await cloud.live('placard')).toBeNull();
    expect(await cloud.live('poster')).toMatchObject({ fingerprint: '99999' });
    expect(actions(await plan())).toMatchObject({ placard: 'create', poster: 'update' });
  });

  it('tries once more what was deployed by a run that was cut off, and records what was tried', async () => {
    cloud.put('poster', '11111', true);
    const [planned] = await plan({ kind: 'named', names: ['poster'] });
    expect(planned?.entry).toMatchObject({ action: 'update', reasons: [{ input: 'smoke job' }] });
    expect(results(await apply(await plan()))).toEqual({ placard: 'deployed', poster: 'deployed' });
    expect(cloud.accepted.toSorted()).toEqual(['placard', 'poster']);
    cloud.broken.add('poster');
    nx['poster'] = '22222';
    await apply(await plan());
    await apply(await plan(), { smoke: false });
    expect(cloud.accepted).toHaveLength(2);
  });

  it('fails for one that cannot be deployed or read, and deploys the others', async () => {
    cloud.refusing.add('poster');
    add('third', '11111', { gpu: 'none' });
    const entries = await apply(await plan());
    expect(results(entries)).toEqual({ placard: 'deployed', poster: 'failed', third: 'failed' });
    expect(entries.find(({ endpoint }) => endpoint === 'third')?.error).toContain('npx nx validate third');
  });

  it('leaves alone what somebody else has deployed in the meantime', async () => {
    cloud.put('poster', '99999');
    cloud.put('placard', '99999');
    const planned = await plan();
    cloud.put('poster', '11111');
    cloud.put('placard', '33333');
    const entries = await apply(planned);
    expect(results(entries)).toEqual({ placard: 'failed', poster: 'unchanged' });
    expect(entries.find(({ endpoint }) => endpoint === 'placard')?.error).toContain('Run it again');
    expect(cloud.done).toEqual([]);
  });

  it('removes what is not in the repository only when it may, and nothing that is not ours', async () => {
    await apply(await plan());
    cloud.put('handmade', null);
    rmSync(path.join(root, 'apps/endpoints/poster'), { recursive: true });
    expect(actions(await plan())).toEqual({ placard: 'unchanged', poster: 'undeploy' });
    expect(results(await apply(await plan()))).toEqual({ placard: 'unchanged', poster: 'refused' });
    const removed = await apply(await plan(), { allowUndeploy: true });
    expect(results(removed)).toEqual({ placard: 'unchanged', poster: 'undeployed' });
    expect([...cloud.versions.keys()].sort()).toEqual(['handmade', 'placard']);
  });

  it('removes what the base had, even where it was deployed by hand', async () => {
    commitAll();
    cloud.put('poster', null);
    const base = git('rev-parse', 'HEAD').trim();
    rmSync(path.join(root, 'apps/endpoints/poster'), { recursive: true });
    affected = [];
    const range = { base, head: base, headIsNamed: false };
    expect(actions(await plan({ kind: 'affected', range }))).toEqual({ poster: 'undeploy' });
    expect(actions(await plan())).toEqual({ placard: 'create' });
  });

  it('counts only the clouds that endpoint.json names', async () => {
    add('poster', '11111', { providers: { runpod: {} } });
    expect(actions(await plan())).toEqual({ placard: 'create' });
    expect(actions(await plan({ kind: 'named', names: ['poster'] }))).toEqual({ poster: 'create' });
  });

  it('begins nothing after an interruption, and goes back from what is not tried', async () => {
    const entries = await apply(await plan(), {
      parallel: 1,
      onStep: (_endpoint, text) => {
        if (text.startsWith('trying')) stop.abort();
      },
    });
    expect(results(entries)).toEqual({ placard: 'rolled_back', poster: 'failed' });
    expect(cloud.done).toEqual(['deploy placard', 'undo placard']);
    expect(cloud.versions.size).toBe(0);
  });

  it('refuses a name that there is not', async () => {
    await expect(plan({ kind: 'named', names: ['nothing'] })).rejects.toThrow('placard, poster');
  });
});
