/** `ryla deploy` as CI has it: a clone with a history, the real Nx, the real modal client. `npm run test:scenarios` has many more. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { LocalAccount } from '../../scenarios/local-account.ts';
import { Story } from '../../scenarios/story.ts';
import { WorkspaceOrigin } from '../../test-support/workspace-clone.ts';
import { startModalRecords } from './modal-records.ts';

/** Several starts of Nx and modal, on two slow cores. */
const STORY_MS = 600_000;
const WORKFLOW = 'apps/endpoints/photo-finish/workflow.json';

describe('a history of deploys', () => {
  let origin: WorkspaceOrigin;
  let account: LocalAccount;

  beforeAll(async () => {
    [origin, account] = await Promise.all([WorkspaceOrigin.make(['photo-finish']), LocalAccount.start()]);
    await account.secret('main');
  }, STORY_MS);
  afterAll(async () => {
    await account[Symbol.asyncDispose]();
    await origin[Symbol.asyncDispose]();
  }, STORY_MS);

  it('takes back what does not work, and knows and ends what is live', { timeout: STORY_MS }, async () => {
    const story = new Story(origin, account, 'main', await origin.clone());
    const { clone } = story;
    const first = await story.deploy();
    expect(first.results, first.stderr).toEqual({ 'photo-finish': 'deployed' });

    story.smoke = true;
    const summary = path.join(clone.root, 'summary.md');
    await clone.edit(WORKFLOW, (text) => text.replace('"ImageSharpen"', '"NoSuchNode"'));
    await clone.commit('broken');
    const broken = await story.deploy(['--summary', summary]);
    expect([broken.code, broken.results], broken.stderr).toEqual([1, { 'photo-finish': 'rolled_back' }]);
    expect(await readFile(summary, 'utf8')).toContain('NoSuchNode');

    const back = await story.ryla(['rollback', 'photo-finish', '--json']);
    expect([back.code, JSON.parse(back.stdout)], back.stderr).toMatchObject([0, { live: { version: 'v4' } }]);
    await clone.append(WORKFLOW, '\n');
    const drift = await story.ryla(['drift', '--json']);
    expect(drift.code, drift.stderr).toBe(3);
    expect(JSON.parse(drift.stdout)).toMatchObject({
      endpoints: [{ endpoint: 'photo-finish', action: 'update', reasons: [{ file: WORKFLOW }] }],
    });

    await asModalSays(story);
    expect((await story.ryla(['undeploy', 'photo-finish', '--json'])).stderr).toContain('not_confirmed');
    expect(await story.versions()).toEqual({ 'photo-finish': 4 });
    const ended = await story.ryla(['undeploy', 'photo-finish', '--confirm', 'photo-finish']);
    expect([ended.code, ended.stdout], ended.stderr).toEqual([0, 'Undeployed: photo-finish\n']);
    expect(await story.versions()).toEqual({});
  });

  /** What `ryla` reads is what Modal's own commands print. */
  async function asModalSays({ clone }: Story): Promise<void> {
    await using records = startModalRecords(clone.root, { ...process.env, ...account.state.environment });
    const [app] = await records.apps();
    const listed: unknown = JSON.parse((await account.modal(['app', 'list', '--json'])).stdout);
    expect(listed).toMatchObject([{ app_id: app?.id, description: app?.name, state: 'deployed' }]);
    const told = z
      .array(z.object({ version: z.string(), commit: z.string(), tag: z.string() }))
      .parse(JSON.parse((await account.modal(['app', 'history', app?.id ?? '', '--json'])).stdout));
    expect(await records.history({ app: app?.id ?? '' })).toEqual(
      told.map((each) => ({ ...each, commit: each.commit.replace('*', '') })),
    );
    expect(await records.history({ name: 'ryla-nothing' })).toEqual([]);
    await records.mark('poster', '12345');
    expect(await records.untried()).toEqual({ poster: '12345' });
    await records.unmark('poster');
    await records.unmark('poster');
    expect(await records.untried()).toEqual({});
    await expect(records.history({ app: 'ap-0' })).rejects.toThrow('Modal answered');
  }
});
