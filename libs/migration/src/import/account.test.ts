import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { createRunPodManagement } from '@ryla/runpod-management';
import { describe, it } from 'vitest';
import { z } from 'zod';

import { readAccount } from './account.ts';
import { planImport } from './import-plan.ts';
import { importReport } from './import-report.ts';

const addresses = z.object({ managementUrl: z.url(), apiKey: z.string() });

/** The local RunPod; it ends with its standard input, even when this process is killed. */
async function startLocalRunPod(): Promise<AsyncDisposable & z.infer<typeof addresses>> {
  const python = path.resolve(import.meta.dirname, '../../../../.venv/bin/python');
  if (!existsSync(python)) throw new Error('There is no .venv: run `npm run setup` once.');
  const child = spawn(python, ['-m', 'local_clouds.runpod'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.once('exit', () => reject(new Error('The local RunPod did not start.')));
  });
  return {
    ...addresses.parse(JSON.parse(line)),
    [Symbol.asyncDispose]: async () => {
      child.stdin.end();
      await exited;
    },
  };
}

describe('an account over the management API', () => {
  it('is read without a write and without a value of a variable', async () => {
    await using cloud = await startLocalRunPod();
    const { managementUrl: baseUrl, apiKey } = cloud;
    await using client = createRunPodManagement({ apiKey, baseUrl });
    const made = await client.createEndpoint({
      name: 'Flux',
      image: 'runpod/worker-comfyui:5.2.0-base',
      type: 'QUEUE',
      gpu: { pools: ['ADA_48_PRO'], count: 1 },
      workers: { min: 0, max: 2, idleTimeout: 60 },
      scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
      env: { PLAIN: 'a-value-nobody-may-see', HF: '{{ RUNPOD_SECRET_hf }}' },
      timeout: 300_000,
    });
    const before = await client.listEndpoints();
    const plan = planImport(await readAccount(client));
    assert.deepEqual(await client.listEndpoints(), before);
    const [flux] = plan.endpoints;
    assert.equal(flux?.name, 'flux');
    assert.equal(flux.runpodId, made.id);
    assert.deepEqual(flux.secret?.variables, ['HF', 'PLAIN']);
    const written = importReport(plan) + JSON.stringify(plan);
    assert.ok(!written.includes('a-value-nobody-may-see'));
    assert.match(written, /RunPod secret hf/);
    // What the stand-in's answers hold is known to the importer.
    const unknown = plan.entries.filter(({ note }) => note.includes('does not know this field'));
    assert.deepEqual(unknown, []);
  });
});
