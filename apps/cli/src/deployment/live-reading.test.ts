/** What is read from `modal`, from git and from files. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { relevantChanges } from './change-reasons.ts';
import { inParallel } from './in-parallel.ts';
import { printedUrl } from './modal-cli.ts';
import { modalVariables, previousVersion } from './modal-cloud.ts';
import { readImages } from './runpod-images.ts';

describe('modal', () => {
  it('prints the address of the gateway among others', () => {
    const printed = [
      '│   └── https://acme-prod--ryla-poster-generate-image.modal.run 🔑',
      '│   └── https://acme-prod--ryla-poster-api.modal.run 🔑',
    ].join('\n');
    expect(printedUrl(printed, 'ryla-poster-api')).toBe('https://acme-prod--ryla-poster-api.modal.run');
    expect(printedUrl(printed, 'ryla-placard-api')).toBeNull();
  });

  it('goes back past versions that are the same deployment', () => {
    const history = [
      { version: 'v4', tag: '2', commit: null },
      { version: 'v3', tag: '2', commit: null },
      { version: 'v2', tag: '1', commit: null },
    ];
    expect(previousVersion(history, 'poster').version).toBe('v2');
    expect(() => previousVersion(history.slice(0, 1), 'poster')).toThrow('no earlier version');
  });

  it('is never a stand-in where a real account is meant', () => {
    const env = { MODAL_SERVER_URL: 'http://127.0.0.1:1' };
    expect(() => modalVariables({ root: '/', target: 'cloud', env }, undefined)).toThrow('MODAL_SERVER_URL');
    expect(modalVariables({ root: '/', target: 'cloud', env: { A: '1' } }, 'prod')).toEqual({
      A: '1',
      MODAL_ENVIRONMENT: 'prod',
    });
  });
});

describe('reasons', () => {
  it('are files of the hash, those that are gone from its folders included', () => {
    const files = ['apps/endpoints/poster/workflow.json', 'libs/worker/src/comfy_worker/job.py'];
    const changed = [
      'README.md',
      'nx.json',
      'apps/endpoints/poster/workflow.json',
      'apps/endpoints/poster/client.ts',
      'libs/worker/src/comfy_worker/deleted.py',
      'libs/worker/tests/test_job.py',
    ];
    expect(relevantChanges(changed, files)).toEqual([
      'nx.json',
      'apps/endpoints/poster/workflow.json',
      'libs/worker/src/comfy_worker/deleted.py',
    ]);
  });
});

describe('images', () => {
  it('come from a file, then from options', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'images-'));
    const file = path.join(folder, 'images.json');
    writeFileSync(file, '{"poster":"a@sha256:1","placard":"b@sha256:2"}');
    expect(readImages(['poster=live'], file)).toEqual({ poster: 'live', placard: 'b@sha256:2' });
    writeFileSync(file, '["poster"]');
    expect(() => readImages([], file)).toThrow('no JSON object of images');
    rmSync(folder, { recursive: true });
    expect(() => readImages(['poster'], undefined)).toThrow('<endpoint>=');
    expect(() => readImages([], file)).toThrow('images.json');
  });
});

describe('in parallel', () => {
  it('keeps the order and the limit', async () => {
    let running = 0;
    let most = 0;
    const results = await inParallel([3, 1, 2, 5, 4], 2, async (item) => {
      most = Math.max(most, (running += 1));
      for (let turn = 0; turn < item; turn += 1) await Promise.resolve();
      running -= 1;
      return item * 10;
    });
    expect([results, most]).toEqual([[30, 10, 20, 50, 40], 2]);
  });
});
