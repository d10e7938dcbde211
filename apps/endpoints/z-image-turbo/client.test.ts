import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

import { applyInputs } from '@ryla/workflow';
import { describe, expect, it } from 'vitest';

import { zImageTurbo, zImageTurboInputs } from './client.ts';

describe('z-image-turbo', () => {
  it('sets its inputs in its workflow', () => {
    const inputs = zImageTurboInputs.parse({});
    const { workflow } = applyInputs(zImageTurbo.config, zImageTurbo.workflow, inputs);
    expect(Object.keys(workflow)).toEqual(Object.keys(zImageTurbo.workflow));
  });

  it('names the inputs of endpoint.json, and no others', () => {
    expect(Object.keys(zImageTurboInputs.shape)).toEqual(Object.keys(zImageTurbo.config.inputs));
    expect(zImageTurboInputs.safeParse({ unknown: true }).success).toBe(false);
  });

  it('runs on the local Modal and the local RunPod', { timeout: 120_000 }, async ({ signal }) => {
    const out = await mkdtemp(path.join(tmpdir(), 'z-image-turbo-'));
    try {
      const workspace = path.resolve(import.meta.dirname, '../../..');
      const start = ['--conditions=@ryla/source', 'tools/start/src/start.ts', '--json', '--out', out];
      const options = ['--endpoint', 'z-image-turbo'];
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
