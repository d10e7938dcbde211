import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

import { createComfyUIService, type JobStore, memoryJobStore, sqliteJobStore } from '@ryla/business';
import { type ManualClock, manualClock, memory } from '@ryla/business/testing';
import { afterAll, describe, it } from 'vitest';

import { parseMigrationFile } from '../file/migration-file.ts';
import { fileText, NEW, OLD, picture } from './endpoint.fixture.ts';
import { createMigration } from './migration.ts';
import { STAGES, type Stage } from './stage.ts';
import { changeStage, moved } from './stage-state.ts';
import { routeOf, ROUTES_POLL_MS, stagedRoutes } from './staged-routes.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'ryla-routes-'));
afterAll(() => rm(folder, { recursive: true }));
const me = { by: 'ada', reason: 'test' };

async function goTo(store: JobStore, stage: Stage, at = 0): Promise<void> {
  await changeStage(store, 'picture', (state) => moved(state, stage, me, at));
}

describe('the route of a stage', () => {
  it('gives the new side its share, and never anything by accident before it is live', () => {
    const shares = STAGES.map((stage) => routeOf(stage, { old: OLD, new: NEW })[0]?.weight);
    assert.deepEqual(shares, [0, 0, 0, 0.01, 0.05, 0.25, 0.5, 1, 1, 1]);
    for (const stage of STAGES) {
      const [fresh, old] = routeOf(stage, { old: OLD, new: NEW });
      assert.equal(fresh?.failover, ['live', 'ramp_down', 'complete'].includes(stage));
      assert.equal(old?.failover, !['ramp_down', 'complete'].includes(stage));
    }
  });
});

describe('staged routes', () => {
  async function running(stage: Stage, permitted: string) {
    const clock: ManualClock = manualClock();
    const store = memoryJobStore({ clock });
    await goTo(store, stage);
    const service = createComfyUIService({ adapters: { [OLD]: memory(), [NEW]: memory() }, clock });
    let file = parseMigrationFile(fileText(permitted));
    const problems: unknown[] = [];
    let isBroken = false;
    const seen = {
      ...store,
      stateRevision: () => (isBroken ? Promise.reject(new Error('gone')) : store.stateRevision()),
    };
    const routes = await stagedRoutes(service, seen, () => file, {
      clock,
      onProblem: (error) => problems.push(error),
    });
    return {
      clock,
      store,
      service,
      routes,
      problems,
      permit: (next: string) => (file = parseMigrationFile(fileText(next))),
      breakStore: (is: boolean) => (isBroken = is),
      shareOfNew: () => service.routes.table.endpoints?.['picture']?.[0]?.weight,
      [Symbol.asyncDispose]: async () => {
        await routes.close();
        await service.close();
      },
    };
  }

  it('follow the store, in both directions', async () => {
    await using s = await running('canary_25', 'live');
    assert.equal(s.shareOfNew(), 0.25);
    await goTo(s.store, 'canary_50');
    await s.clock.pass(ROUTES_POLL_MS);
    assert.equal(s.shareOfNew(), 0.5);
    await goTo(s.store, 'models_verified');
    await s.clock.pass(ROUTES_POLL_MS);
    assert.equal(s.shareOfNew(), 0);
    assert.equal(s.routes.stageOf('picture'), 'models_verified');
  });

  it('never go above the file, also when that changes', async () => {
    await using s = await running('live', 'canary_5');
    assert.equal(s.shareOfNew(), 0.05);
    s.permit('shadow');
    await s.clock.pass(ROUTES_POLL_MS);
    assert.equal(s.shareOfNew(), 0);
  });

  it('stay as they are while the store cannot be read, and catch up', async () => {
    await using s = await running('canary_50', 'live');
    s.breakStore(true);
    await goTo(s.store, 'off');
    await s.clock.pass(3 * ROUTES_POLL_MS);
    assert.equal(s.shareOfNew(), 0.5);
    assert.equal(s.problems.length, 3);
    s.breakStore(false);
    await s.clock.pass(ROUTES_POLL_MS);
    assert.equal(s.shareOfNew(), 0);
  });

  it('do not begin without the store', async () => {
    const store = memoryJobStore();
    const broken = { ...store, stateRevision: () => Promise.reject(new Error('gone')) };
    await using service = createComfyUIService({ adapters: { [OLD]: memory() } });
    await assert.rejects(stagedRoutes(service, broken, parseMigrationFile(fileText('live'))), /gone/);
  });

  it('leave jobs in flight where they are', async () => {
    const store = memoryJobStore();
    await goTo(store, 'live');
    const fresh = memory({ outcome: { type: 'succeed', afterMs: 50 } });
    await using service = createComfyUIService({ adapters: { [OLD]: memory(), [NEW]: fresh } });
    await using routes = await stagedRoutes(service, store, parseMigrationFile(fileText('live')));
    const job = await service.submit(picture, {});
    assert.equal(job.backend, NEW);
    await goTo(store, 'models_verified');
    const changed = Promise.withResolvers<undefined>();
    service.routes.subscribe(() => changed.resolve(undefined));
    await changed.promise;
    assert.equal(routes.stageOf('picture'), 'models_verified');
    assert.equal((await job.result()).backend, NEW);
    assert.deepEqual(fresh.canceled, []);
    assert.equal((await service.submit(picture, {})).backend, OLD);
  });
});

type Instance = ChildProcessByStdio<Writable, Readable, Readable>;

describe('three service processes', () => {
  it('send no new job to the new side from a second after a rollback on', { timeout: 120_000 }, async () => {
    const file = path.join(folder, 'jobs.db');
    await using store = await sqliteJobStore({ path: file });
    await goTo(store, 'live', Date.now());
    const instances = Array.from({ length: 3 }, () => start(file));
    try {
      const logs = instances.map((instance) => logOf(instance));
      await Promise.all(logs.map((log) => log.until(({ backend }) => backend === NEW)));
      const migration = createMigration({ store, fileText: () => Promise.resolve(fileText('live')) });
      await migration.rollback('picture', me);
      const rolledBackAt = Date.now();
      await Promise.all(logs.map((log) => log.until(({ at }) => at > rolledBackAt + 1_200)));
      for (const log of logs) {
        const late = log.lines.filter(({ at, backend }) => at > rolledBackAt + 1_000 && backend === NEW);
        assert.deepEqual(late, []);
        assert.ok(log.lines.some(({ backend }) => backend === OLD));
      }
    } finally {
      for (const instance of instances) instance.stdin.end();
      for (const instance of instances) if (instance.exitCode === null) await once(instance, 'exit');
    }
  });
});

function start(file: string): Instance {
  const fixture = path.join(import.meta.dirname, 'service-instance.fixture.ts');
  const args = ['--conditions=@ryla/source', '--no-warnings', fixture, file];
  return spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] });
}

interface Line {
  readonly at: number;
  readonly backend: string;
}

function logOf(instance: Instance) {
  const lines: Line[] = [];
  const complaints = instance.stderr.setEncoding('utf8').toArray();
  const waiting = new Set<() => void>();
  createInterface({ input: instance.stdout }).on('line', (line) => {
    const [at = '', backend = ''] = line.split(' ');
    lines.push({ at: Number(at), backend });
    for (const look of [...waiting]) look();
  });
  const ended = once(instance, 'close').then(async () => {
    throw new Error(`It ended by itself: ${(await complaints).join('')}`);
  });
  ended.catch(() => undefined);
  return {
    lines,
    until(is: (line: Line) => boolean): Promise<void> {
      const found = new Promise<void>((resolve) => {
        const look = (): void => {
          if (!lines.some(is)) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      });
      return Promise.race([found, ended]);
    },
  };
}
