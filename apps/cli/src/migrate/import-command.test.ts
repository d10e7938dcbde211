import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { migrationWorkspace, type MigrationWorkspace } from '../../test-support/migration-workspace.ts';
import { importAccount, type RunGenerator } from './import-command.ts';

const base = { target: 'local', report: 'migration-import.md' } as const;
const endpoints = [
  { id: 'abc123', name: 'picture', workersMin: 0, workersMax: 2, gpuTypeIds: ['NVIDIA L40S'] },
  {
    id: 'xyz789',
    name: 'Flux',
    workersMin: 0,
    workersMax: 1,
    gpuTypeIds: ['NVIDIA L4'],
    env: { HF_TOKEN: 'hf_not_to_be_seen' },
    speed: 'ludicrous',
  },
];
let place: MigrationWorkspace;
const generate = vi.fn<RunGenerator>();
const ask = vi.fn<(question: string) => Promise<boolean>>();

beforeEach(() => {
  place = migrationWorkspace('off');
  place.write('account.json', endpoints);
  generate.mockReset().mockResolvedValue(['CREATE apps/endpoints/flux/endpoint.json']);
  ask.mockReset();
});
afterEach(() => {
  place[Symbol.dispose]();
});

describe('import', () => {
  it('shows what it would make, and writes nothing', async () => {
    const from = [path.join(place.root, 'account.json')];
    const { out, err } = await place.run(() => importAccount({ ...base, from, dryRun: true }, generate, ask));
    expect(out).toContain('**flux** (RunPod xyz789)');
    expect(out).toContain('**picture** is in the workspace already');
    expect(out).toContain('endpoints/1/speed');
    expect(out).not.toContain('hf_not_to_be_seen');
    expect(err).toContain('Nothing was written; --write writes apps/endpoints/flux/endpoint.json');
    expect(generate).not.toHaveBeenCalled();
    expect(ask).not.toHaveBeenCalled();
  });

  it('writes by the generator, with the same files and without an account', async () => {
    const { out } = await place.run(() =>
      importAccount({ ...base, from: ['account.json'], write: true, json: true }, generate, ask),
    );
    expect(generate).toHaveBeenCalledWith({
      root: place.root,
      files: [path.join(place.root, 'account.json')],
      report: 'migration-import.md',
      variables: {},
    });
    expect(JSON.parse(out)).toMatchObject({
      written: true,
      changes: ['CREATE apps/endpoints/flux/endpoint.json'],
      endpoints: [{ name: 'flux', runpodId: 'xyz789' }],
      present: ['picture'],
    });
    expect(out).toContain('"fate":"person","path":"endpoints/1/speed"');
  });

  it('refuses contradictions, files that are none, and another folder of endpoints', async () => {
    const run = (more: object) => place.run(() => importAccount({ ...base, ...more }, generate, ask));
    await expect(run({ write: true, dryRun: true })).rejects.toThrow('contradict');
    await expect(run({ from: ['nowhere.json'] })).rejects.toMatchObject({ code: 'invalid_export' });
    await expect(run({})).rejects.toThrow('The local clouds are not running');
  });
});
