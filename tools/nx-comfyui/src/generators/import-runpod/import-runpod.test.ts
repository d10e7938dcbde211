import { logger, readJson, type Tree } from '@nx/devkit';
import { parseEndpointConfig } from '@ryla/workflow';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Desk, filesBelow, workspaceTree } from '../../../test-support/endpoint-tree.ts';
import { importRunpod } from './import-runpod.ts';

let tree: Tree;
let desk: Desk;
let said: string[] = [];

beforeEach(() => {
  said = [];
  vi.spyOn(logger, 'info').mockImplementation((text: string) => void said.push(text));
  tree = workspaceTree();
  desk = new Desk();
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  desk[Symbol.dispose]();
});

const endpoint = {
  id: 'jpcxjab2zpro19',
  name: 'Flux',
  gpuTypeIds: ['NVIDIA L40S'],
  workersMin: 0,
  workersMax: 2,
  env: { HF_TOKEN: 'hf_not_to_be_seen' },
};

describe('import-runpod', () => {
  it('prints the report and writes nothing, unless it is told to', async () => {
    const before = filesBelow(tree, '.');
    await importRunpod(tree, { files: [desk.put('endpoints.json', [endpoint])] });
    expect(filesBelow(tree, '.')).toEqual(before);
    expect(said.join('\n')).toContain('apps/endpoints/flux/endpoint.json');
    expect(said.at(-1)).toContain('--write');
  });

  it('writes endpoint projects, the migration file and the report, and no value of a variable', async () => {
    const files = [desk.put('endpoints.json', [endpoint])];
    await importRunpod(tree, { files, write: true });
    const config = parseEndpointConfig(readJson(tree, 'apps/endpoints/flux/endpoint.json'));
    expect(config.providers.runpod.endpointId).toBe('jpcxjab2zpro19');
    expect(config.gpu).toEqual(['L40S']);
    expect(readJson(tree, 'ryla.migration.json')).toMatchObject({ endpoints: { flux: { stage: 'off' } } });
    expect(tree.read('migration-import.md', 'utf8')).toContain('## Needs a person');
    expect(JSON.stringify(filesBelow(tree, '.'))).not.toContain('hf_not_to_be_seen');
  });

  it('overwrites no endpoint', async () => {
    await importRunpod(tree, { files: [desk.put('endpoints.json', [endpoint])], write: true });
    const first = tree.read('apps/endpoints/flux/endpoint.json', 'utf8');
    const another = desk.put('another.json', [{ ...endpoint, id: 'another' }]);
    await importRunpod(tree, { files: [another], write: true });
    expect(tree.read('apps/endpoints/flux/endpoint.json', 'utf8')).toBe(first);
    expect(tree.exists('apps/endpoints/flux-2/endpoint.json')).toBe(true);
  });

  it('imports an endpoint once', async () => {
    const files = [desk.put('endpoints.json', [endpoint])];
    await importRunpod(tree, { files, write: true });
    const before = filesBelow(tree, '.');
    await importRunpod(tree, { files, write: true });
    expect(said.join('\n')).toContain('**flux** is in the workspace already');
    const after = filesBelow(tree, '.');
    expect({ ...after, 'migration-import.md': '' }).toEqual({ ...before, 'migration-import.md': '' });
  });

  it('says what to give it when there is nothing to import from', async () => {
    vi.stubEnv('RUNPOD_API_KEY', '');
    await expect(importRunpod(tree, {})).rejects.toThrow('RUNPOD_API_KEY');
  });
});
