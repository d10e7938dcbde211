import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { parseEndpointConfig } from '../../endpoint-config.ts';
import { type Environment, type EnvironmentOptions, readEnvironment } from './environment.ts';
import type { PinResolver } from './pin-resolver.ts';

const SHA = 'b'.repeat(64);

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
  const snapshot = {
    git_custom_nodes: {},
    cnr_custom_nodes: { 'their-nodes': '1.2.3', newest: 'nightly', none: 'latest' },
  };

  it('are pinned by their version, with the hash of the archive where the network knows it', async () => {
    const resolver: PinResolver = {
      file: () => Promise.resolve(undefined),
      commit: () => Promise.resolve({ commit: 'a'.repeat(40) }),
      registryArchive: (id, version) =>
        Promise.resolve(id === 'their-nodes' && version === '1.2.3' ? { sha256: SHA } : undefined),
    };
    const pin = { name: 'their-nodes', registry: 'their-nodes', version: '1.2.3' };
    expect((await read(snapshot, { resolver })).customNodes).toEqual([{ ...pin, sha256: SHA }]);
    expect((await read(snapshot, {})).customNodes).toEqual([pin]);
  });

  it('are pins that endpoint.json takes', async () => {
    const { customNodes } = await read(snapshot, {});
    expect(parseEndpointConfig({ name: 'probe', title: 'Probe', customNodes }).customNodes).toEqual(
      customNodes,
    );
  });

  it('in no certain version are never pinned', async () => {
    const environment = await read(snapshot, {});
    expect(codes(environment)).toMatchObject({ newest: 'registry_version', none: 'registry_version' });
    expect(environment.customNodes.map(({ name }) => name)).toEqual(['their-nodes']);
  });
});
