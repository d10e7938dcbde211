import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import process from 'node:process';

import {
  JUDGE_LEASE,
  judgeStatus,
  noteModelsVerified,
  STAGES,
  type Stage,
  startJudge,
} from '@ryla/migration';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';

import { migrationWorkspace, type MigrationWorkspace } from '../../test-support/migration-workspace.ts';
import { judgeText, judgeWarnings } from './judge-report.ts';
import { STAGE_NAMES } from './stage-names.ts';
import { advance, hold, resume, rollback, status } from './stage-commands.ts';

const base = { target: 'local', reason: 'a test', by: 'ada' } as const;
const finding = z.object({
  code: z.string(),
  gate: z.string().optional(),
  jobs: z.number().optional(),
  needed: z.number().optional(),
});
let place: MigrationWorkspace;

beforeEach(() => {
  place = migrationWorkspace('shadow', { minimumHours: 0 });
});
afterEach(() => {
  place[Symbol.dispose]();
});

async function stored(): Promise<unknown> {
  await using store = await place.store();
  return (await store.getState('migration/stage/picture'))?.value;
}

describe('advance', () => {
  it('refuses until the models are verified, and tells so with exit code 3', async () => {
    const { out, code } = await place.run(() => advance('picture', base));
    expect(code).toBe(3);
    expect(out).toContain('picture is at off.');
    expect(out).toContain('Nobody has verified the models');
    expect(await stored()).toBeUndefined();
  });

  it('takes what a complete copy has noted, and keeps it as the reason', async () => {
    {
      await using store = await place.store();
      await noteModelsVerified(store, 'picture', { at: 1_000, source: 'EU-RO-1/vol1', files: 3 });
    }
    const { code } = await place.run(() => advance('picture', base));
    expect(code).toBe(0);
    expect(await stored()).toMatchObject({
      stage: 'models_verified',
      history: [{ by: 'ada', reason: 'a test; 3 files of EU-RO-1/vol1 verified' }],
    });
  });

  it('goes step by step, and stops with the numbers that miss and those that are needed', async () => {
    const { out, code } = await place.run(() =>
      advance('picture', { ...base, modelsVerified: true, to: 'canary_1', json: true }),
    );
    expect(code).toBe(3);
    // Gates miss: no pull request is proposed yet.
    expect(JSON.parse(out)).toMatchObject({
      ...{ from: 'off', to: 'shadow', proposal: null, advanced: ['models_verified', 'shadow'] },
    });
    const { refusals } = z.object({ refusals: z.array(finding) }).parse(JSON.parse(out));
    expect(refusals.find(({ gate }) => gate === 'errorRate')).toMatchObject({ jobs: 0, needed: 151 });
    expect(refusals).toContainEqual({ code: 'too_few_jobs', jobs: 0, needed: 20 });
  });

  it('proposes the change of the file where only that stands in the way, and --write makes it', async () => {
    place.write('ryla.migration.json', '{ "endpoints": { "picture": { "stage": "off" } } }\n');
    const proposed = await place.run(() => advance('picture', { ...base, modelsVerified: true }));
    expect(proposed.code).toBe(3);
    expect(proposed.out).toContain('+{ "endpoints": { "picture": { "stage": "models_verified" } } }');
    expect(place.migration()).toContain('"off"');
    const written = await place.run(() => advance('picture', { ...base, modelsVerified: true, write: true }));
    expect(written.code).toBe(0);
    expect(place.migration()).toBe('{ "endpoints": { "picture": { "stage": "models_verified" } } }\n');
    expect(await stored()).toMatchObject({ stage: 'models_verified' });
  });

  it('refuses a stage that is not ahead, and an endpoint that is not there', async () => {
    await expect(place.run(() => advance('picture', { ...base, to: 'off' }))).rejects.toThrow('is at off');
    await expect(place.run(() => advance('nobody', base))).rejects.toMatchObject({
      name: 'UsageError',
      code: 'unknown_endpoint',
    });
  });
});

describe('rollback, hold and resume', () => {
  async function at(stage: Stage): Promise<void> {
    await place.run(() => advance('picture', { ...base, modelsVerified: true, to: stage }));
  }

  it('goes back in the store at once, holds, and changes the file only when it is told to', async () => {
    await at('shadow');
    const first = await place.run(() => rollback('picture', { ...base, to: 'models_verified' }));
    expect(first.out).toContain('shadow → models_verified, held');
    expect(first.out).toContain('+      "stage": "models_verified"');
    expect(place.migration()).toContain('"shadow"');
    expect(await stored()).toMatchObject({ stage: 'models_verified', hold: { by: 'ada', reason: 'a test' } });
    expect((await place.run(() => advance('picture', base))).out).toContain('Held by ada: a test');
    await place.run(() => resume('picture', base));
    await at('shadow');
    const second = await place.run(() =>
      rollback('picture', { ...base, to: 'off', write: true, json: true }),
    );
    expect(JSON.parse(second.out)).toMatchObject({ from: 'shadow', to: 'off', written: true });
    expect(place.migration()).toContain('"stage": "off"');
  });

  it('rolls back nothing where there is nothing, and holds what is told', async () => {
    await expect(
      place.run(() => rollback('picture', { ...base, to: 'models_verified' })),
    ).rejects.toMatchObject({ code: 'nothing_to_roll_back' });
    expect((await place.run(() => hold('picture', base))).out).toContain('held at off');
    expect(await stored()).toMatchObject({ hold: { by: 'ada' } });
  });
});

describe('status', () => {
  it('shows stage, jobs, spend, gates, who judges, and what is missing', async () => {
    await place.run(() => advance('picture', { ...base, modelsVerified: true, to: 'shadow' }));
    await using store = await place.store();
    const job = { endpoint: 'picture', payloadHash: 'h' };
    await store.create({ ...job, id: randomUUID(), backend: 'runpod:picture' });
    await store.create({ ...job, id: randomUUID(), backend: 'modal:picture', tags: ['migration:shadow'] });
    const { out, err, code } = await place.run(() => status(undefined, base));
    expect(code).toBe(0);
    expect(err).toContain('Target: local clouds (not running)');
    expect(err).toContain('Warning: Nobody judges: picture (shadow) would not be rolled back by itself.');
    for (const part of [
      'picture: shadow (permitted shadow)',
      'by ada: a test',
      'jobs: 1 on runpod:picture, 1 on modal:picture; 1 of them shadow jobs',
      'of $5.00',
      'nobody judges',
      'errorRate',
      'gates: errorRate, queueP95',
      'it takes 20',
    ])
      expect(out).toContain(part);
    await store.acquireLease(JUDGE_LEASE, { owner: 'a service', ms: 60_000 });
    const json = await place.run(() => status('picture', { ...base, json: true }));
    expect(JSON.parse(json.out)).toMatchObject({
      judged: true,
      // Of a release that does not note who it is.
      judge: { judges: true, instance: null },
      warnings: [],
      endpoints: [{ endpoint: 'picture', effective: 'shadow', jobs: { old: 1, new: 1, shadow: 1 } }],
    });
  });
});

describe('who judges', () => {
  const note = {
    owner: '0123456789abcdef',
    host: 'box-7',
    pid: 42,
    since: 1_000,
    lastAt: 61_000,
    problem: null,
  };
  const at = [{ endpoint: 'picture', effective: 'canary_5' }] as const;

  it('is said with host, process, since when, and the last judgement', async () => {
    await using store = await place.store();
    await using _judge = startJudge({
      store,
      owner: 'one-that-judges',
      migration: { judge: () => Promise.resolve([]) },
      onProblem: (error) => expect.fail(String(error)),
    });
    await vi.waitFor(
      async () => expect((await judgeStatus(store)).note?.lastAt).toBeTypeOf('number'),
      30_000,
    );
    const { out } = await place.run(() => status('picture', { ...base, json: true }));
    expect(JSON.parse(out)).toMatchObject({
      judged: true,
      judge: { instance: 'one-that-judges', host: hostname(), pid: process.pid, problem: null },
    });
    const text = (await place.run(() => status('picture', base))).out;
    expect(text).toContain(
      `automatic rollback: instance one-that on ${hostname()} (process ${process.pid}) judges`,
    );
  });

  it('is told of one that is gone, or silent, where an endpoint needs it', () => {
    const gone = { isHeld: false, note };
    expect(judgeText(gone, 90_000)).toBe(
      'nobody judges; instance 01234567 on box-7 (process 42) did, last judgement 29 s ago',
    );
    expect(judgeWarnings(gone, at, 90_000)).toHaveLength(1);
    expect(judgeWarnings(gone, [{ endpoint: 'picture', effective: 'complete' }], 90_000)).toEqual([]);
    const held = { isHeld: true, note };
    expect(judgeWarnings(held, at, 90_000)).toEqual([]);
    expect(judgeWarnings(held, at, 92_000).join()).toContain('has not judged for 31 s: picture (canary_5)');
    const failing = { isHeld: true, note: { ...note, problem: { at: 65_000, message: 'disk full' } } };
    expect(judgeText(failing, 70_000)).toContain('it failed 5 s ago: disk full');
  });
});

it('knows the stages without loading the library', () => {
  expect(STAGE_NAMES).toEqual(STAGES);
});
