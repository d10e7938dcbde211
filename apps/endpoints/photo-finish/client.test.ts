import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

import { applyInputs } from '@ryla/workflow';
import { describe, expect, it } from 'vitest';

import { photoFinish, photoFinishInputs } from './client.ts';

describe('photo-finish', () => {
  it('sets its inputs in its workflow', () => {
    const inputs = photoFinishInputs.parse({});
    const { workflow } = applyInputs(photoFinish.config, photoFinish.workflow, inputs);
    expect(Object.keys(workflow)).toEqual(Object.keys(photoFinish.workflow));
  });

  it('names the inputs of endpoint.json, and no others', () => {
    expect(Object.keys(photoFinishInputs.shape)).toEqual(Object.keys(photoFinish.config.inputs));
    expect(photoFinishInputs.safeParse({ unknown: true }).success).toBe(false);
  });

  it('runs on the local Modal and the local RunPod', { timeout: 120_000 }, async ({ signal }) => {
    const out = await mkdtemp(path.join(tmpdir(), 'photo-finish-'));
    try {
      const workspace = path.resolve(import.meta.dirname, '../../..');
      const start = ['--conditions=@ryla/source', 'tools/start/src/start.ts', '--json', '--out', out];
      const options = ['--endpoint', 'photo-finish'];
      const run = { cwd: workspace, signal };
      const { stdout } = await promisify(execFile)(process.execPath, [...start, ...options], run);
      expect(JSON.parse(stdout)).toMatchObject({
        results: [
          { backend: 'modal', status: 'succeeded' },
          { backend: 'runpod', status: 'succeeded' },
        ],
        pixelsEqual: true,
      });
    } finally {
      await rm(out, { recursive: true, force: true });
    }
  });
});
