import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type Environment, type EnvironmentOptions, readEnvironment } from './environment.ts';
import type { PinResolver } from './pin-resolver.ts';

const A = 'a'.repeat(40);

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'registry-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function read(content: object, options: EnvironmentOptions): Promise<Environment> {
  const file = path.join(folder, 'snapshot.json');
  writeFileSync(file, JSON.stringify(content));
  return readEnvironment(file, options);
}

function codes({ unpinned }: Environment): Record<string, string> {
  return Object.fromEntries(unpinned.map(({ name, code }) => [name, code]));
}

describe('packages of the Comfy registry', () => {
  const snapshot = { git_custom_nodes: {}, cnr_custom_nodes: { 'their-nodes': '1.2.3', newest: 'nightly' } };
  const repository = 'https://github.com/someone/their-nodes';
  const tags = (known: Record<string, string>): PinResolver => ({
    file: () => Promise.resolve(undefined),
    commit: (asked, ref) =>
      Promise.resolve(
        asked === repository && ref !== undefined && ref in known ? { commit: known[ref] ?? '' } : undefined,
      ),
    registryRepository: (id) => Promise.resolve(id === 'their-nodes' ? repository : undefined),
  });

  it.each([{ 'v1.2.3': A }, { '1.2.3': A }])(
    'are pinned by the commit that is tagged so: %j',
    async (known) => {
      const environment = await read(snapshot, { resolver: tags(known) });
      expect(environment.customNodes).toEqual([{ name: 'their-nodes', repository, commit: A }]);
      expect(environment.registryNodes).toEqual([]);
      expect(codes(environment)).toMatchObject({ newest: 'registry_version' });
      expect(codes(environment)).not.toHaveProperty('their-nodes');
    },
  );

  it('stay pinned by their version where no tag is so named, and a person is told the repository', async () => {
    const environment = await read(snapshot, { resolver: tags({ 'v1.2.30': A }) });
    expect(environment.customNodes).toEqual([]);
    expect(environment.registryNodes).toEqual([
      { name: 'their-nodes', registry: 'their-nodes', version: '1.2.3' },
    ]);
    const { action, known } = environment.unpinned.find(({ name }) => name === 'their-nodes') ?? {};
    expect(action).toContain(repository);
    expect(known).toEqual({ registry: 'their-nodes', version: '1.2.3' });
  });

  it('in no certain version are never pinned', async () => {
    const environment = await read(snapshot, { resolver: tags({ nightly: A }) });
    expect(environment.registryNodes.map(({ name }) => name)).not.toContain('newest');
    expect(environment.customNodes.map(({ name }) => name)).not.toContain('newest');
  });
});
