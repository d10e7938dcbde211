/** The one process that asks Nx says what Nx's own commands say, on the real workspace with changes. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { LIVE_MS } from '../../test-support/live-workspace.ts';
import { type WorkspaceClone, WorkspaceOrigin } from '../../test-support/workspace-clone.ts';
import { inspectWorkspace } from './nx-inspection.ts';

describe('the inspection of a workspace', () => {
  let origin: WorkspaceOrigin;
  let clone: WorkspaceClone;

  beforeAll(async () => {
    origin = await WorkspaceOrigin.make();
    clone = await origin.clone();
    await clone.append('apps/endpoints/photo-finish/workflow.json', '\n');
    await clone.commit('two');
  }, LIVE_MS);
  afterAll(() => origin[Symbol.asyncDispose]());

  it('is what Nx computes for affected projects and for a task', { timeout: LIVE_MS }, async () => {
    const range = { base: 'HEAD~1', head: 'HEAD' };
    const endpoints = ['flux-schnell', 'photo-finish', 'z-image-turbo'];
    const found = await inspectWorkspace(clone.root, { endpoints, target: 'fingerprint', range });
    const shown = await clone.nx('show', 'projects', '--affected', '--base=HEAD~1', '--head=HEAD', '--json');
    expect(found.affected?.toSorted()).toEqual(z.array(z.string()).parse(JSON.parse(shown.stdout)).sort());
    expect(found.affected).toContain('photo-finish');
    expect(Object.keys(found.fingerprints)).toEqual(['photo-finish']);

    const all = await inspectWorkspace(clone.root, { endpoints, target: 'fingerprint', range: null });
    const runpod = await inspectWorkspace(clone.root, {
      endpoints,
      target: 'fingerprint-runpod',
      range: null,
    });
    const ran = await clone.nx('run-many', '-t', 'fingerprint', 'fingerprint-runpod', '--outputStyle=static');
    const printed = [...ran.stdout.matchAll(/\{"endpoint":"([^"]+)","fingerprint":"([^"]+)"\}/g)].map(
      ([, endpoint, fingerprint]) => `${endpoint ?? ''} ${fingerprint ?? ''}`,
    );
    const computed = [all, runpod].flatMap(({ fingerprints }) =>
      Object.entries(fingerprints).map(([endpoint, { fingerprint }]) => `${endpoint} ${fingerprint}`),
    );
    expect(printed.sort(), ran.stdout + ran.stderr).toEqual(computed.sort());
    expect(computed).toHaveLength(2 * endpoints.length);
    expect(all.fingerprints['photo-finish']?.files).toEqual(
      expect.arrayContaining(['apps/endpoints/photo-finish/photo.jpg', 'uv.lock']),
    );
    expect(runpod.fingerprints['photo-finish']?.files).not.toContain('uv.lock');
  });

  it('says what Nx said of a workspace that it cannot read', { timeout: LIVE_MS }, async () => {
    await expect(
      inspectWorkspace(clone.root, { endpoints: [], target: 'fingerprint', range: { base: 'nowhere' } }),
    ).rejects.toThrow(/Nx could not read the workspace.*nowhere/s);
  });
});
