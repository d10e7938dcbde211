import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { parseEndpointConfig } from '../endpoint-config.ts';
import { unpinnedModels, unpinnedModelsNote } from './unpinned-models.ts';

const model = {
  url: 'https://models.example/known.safetensors',
  directory: 'vae',
  filename: 'known.safetensors',
  size: 1,
  sha256: 'a'.repeat(64),
};
const config = parseEndpointConfig({ name: 'probe', title: 'Probe', models: [model] });
const vae = { class_type: 'VAELoader', inputs: { vae_name: 'known.safetensors' } };
const workflow = {
  '1': { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: 'SDXL/base.safetensors' } },
  '2': vae,
  '3': { class_type: 'SaveImage', inputs: { images: ['2', 0] as const, filename_prefix: 'x' } },
};

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(path.join(tmpdir(), 'unpinned-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('models without a pinned source', () => {
  it('are those that the workflow loads and endpoint.json does not name', () => {
    expect(unpinnedModels({ config, workflow })).toMatchObject([
      { directory: 'checkpoints', subfolder: 'SDXL', filename: 'base.safetensors' },
    ]);
  });

  it('are told with what to do, as far as it can be done', () => {
    const note = () => unpinnedModelsNote({ config, workflow, directory }).join('\n');
    expect(note()).toContain('checkpoints/base.safetensors');
    expect(note()).not.toContain('known.safetensors');
    expect(note()).not.toContain('update-endpoint');
    writeFileSync(path.join(directory, 'workflow.original.json'), '{}');
    expect(note()).toContain('update-endpoint probe --workflow=apps/endpoints/probe/workflow.original.json');
    expect(unpinnedModelsNote({ config, workflow: { '2': vae }, directory })).toEqual([]);
  });
});
