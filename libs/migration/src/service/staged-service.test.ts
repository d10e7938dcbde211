import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';

import { ComfyUIServiceError } from '@ryla/business';
import type { ResolvedConfig, RylaConfig } from '@ryla/business/config';
import { afterAll, describe, it } from 'vitest';

import { NEW, OLD, fileText, picture } from '../stages/endpoint.fixture.ts';
import { changeStage, moved } from '../stages/stage-state.ts';
import type { Stage } from '../stages/stage.ts';
import { createStagedService, type StagedServiceOptions } from './staged-service.ts';

const me = { by: 'ada', reason: 'test' };
const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true });
});

async function workspace(permitted: string, config: RylaConfig = {}): Promise<ResolvedConfig> {
  const root = await mkdtemp(path.join(tmpdir(), 'ryla-staged-'));
  folders.push(root);
  await writeFile(path.join(root, 'ryla.migration.json'), fileText(permitted));
  return { root, target: 'local', config, env: {} };
}

/** A service, with a promise of the next stage that it sees. */
async function open(resolved: ResolvedConfig, more: StagedServiceOptions = {}) {
  const stages: Stage[] = [];
  let heard = (): void => undefined;
  const opened = await createStagedService(resolved, [picture.config], {
    ...more,
    onStage: (_, stage) => {
      stages.push(stage);
      heard();
    },
  });
  const next = (): Promise<Stage | undefined> =>
    new Promise((resolve) => {
      heard = () => resolve(stages.at(-1));
    });
  return { ...opened, stages, next };
}

const goTo = (store: Parameters<typeof changeStage>[0], stage: Stage): ReturnType<typeof changeStage> =>
  changeStage(store, 'picture', (state) => moved(state, stage, me, Date.now()));

describe('a service made of a configuration with a migration', () => {
  it('routes by the stage, and follows the store', async () => {
    const opened = await open(await workspace('live'));
    await using service = opened.service;
    const weights = (): unknown =>
      service.routes.table.endpoints?.['picture']?.map(({ backend, weight }) => [backend, weight]);
    assert.deepEqual([opened.stageOf('picture'), opened.stageOf('other')], ['off', 'off']);
    assert.deepEqual(weights(), [
      [NEW, 0],
      [OLD, 1],
    ]);
    const seen = opened.next();
    await goTo(opened.store, 'canary_25');
    assert.equal(await seen, 'canary_25');
    assert.deepEqual(weights(), [
      [NEW, 0.25],
      [OLD, 0.75],
    ]);
  });

  it('reads the file again when it changes, and keeps what it said when it is broken', async () => {
    const resolved = await workspace('live');
    const file = path.join(resolved.root, 'ryla.migration.json');
    const problems: unknown[] = [];
    let complained = (): void => undefined;
    const complaint = new Promise<void>((resolve) => (complained = resolve));
    const opened = await open(resolved, {
      onProblem: (error) => {
        problems.push(error);
        complained();
      },
    });
    await using _service = opened.service;
    const live = opened.next();
    await goTo(opened.store, 'live');
    assert.equal(await live, 'live');
    const back = opened.next();
    await writeFile(file, (await readFile(file, 'utf8')).replace('live', 'shadow'));
    await utimes(file, new Date(1_000), new Date(1_000));
    assert.equal(await back, 'shadow');
    await writeFile(file, '{');
    await complaint;
    assert.equal(opened.stageOf('picture'), 'shadow');
    assert.match(String(problems[0]), /is not JSON/);
  });

  it('judges where it is told to: the lease is taken, and given back when it closes', async () => {
    const resolved = await workspace('live');
    const opened = await open(resolved, { judge: true, shadow: {} });
    const other = await open(resolved);
    const owner = { owner: 'other', ms: 1 };
    while (await other.store.acquireLease('migration/judge', owner)) {
      await other.store.releaseLease('migration/judge', 'other');
      // Looked at again and again, the lease would never be free for the judge.
      await setTimeout(20);
    }
    await opened.service.close();
    assert.equal(await other.store.acquireLease('migration/judge', owner), true);
    await other.service.close();
  });

  it('refuses two places that decide the same, and a file that is not there', async () => {
    const both = await workspace('live', { routes: { picture: { modal: 1 } } });
    const problemOf = async (resolved: ResolvedConfig): Promise<string> => {
      const error: unknown = await open(resolved).catch((reason: unknown) => reason);
      assert.ok(ComfyUIServiceError.isInstance(error), String(error));
      return `${error.code}: ${error.message}`;
    };
    assert.match(await problemOf(both), /invalid_configuration: .* where the jobs of picture go/);
    assert.match(
      await problemOf(await workspace('live', { migration: 'other.json' })),
      /other\.json.*not there/,
    );
    assert.match(await problemOf(await workspace('live', { migration: false })), /There is no/);
  });
});
