/** `ryla deploy` as CI has it: a clone with a history, the real Nx, the real modal client. `npm run test:scenarios` has many more. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { LocalAccount } from '../../scenarios/local-account.ts';
import { Story } from '../../scenarios/story.ts';
import { WorkspaceOrigin } from '../../test-support/workspace-clone.ts';

/** Several starts of Nx and modal, on two slow cores. */
const STORY_MS = 600_000;
const WORKFLOW = 'apps/endpoints/photo-finish/workflow.json';

describe('a history of deploys', () => {
  let origin: WorkspaceOrigin;
  let account: LocalAccount;

  beforeAll(async () => {
    [origin, account] = await Promise.all([WorkspaceOrigin.make(), LocalAccount.start()]);
    await account.secret('main');
  }, STORY_MS);
  afterAll(async () => {
    await account[Symbol.asyncDispose]();
    await origin[Symbol.asyncDispose]();
  }, STORY_MS);

  it(
    'deploys what changed, takes back what does not work, and knows what is live',
    { timeout: STORY_MS },
    async () => {
      const story = new Story(origin, account, 'main', await origin.clone());
      const { clone } = story;
      const first = await story.deploy();
      expect(first.results, first.stderr).toEqual({ 'flux-schnell': 'deployed', 'photo-finish': 'deployed' });

      const changed = await story.push(() =>
        clone.edit(WORKFLOW, (text) => text.replace('"alpha": 0.25', '"alpha": 0.5')),
      );
      expect(changed.results, changed.stderr).toEqual({ 'photo-finish': 'deployed' });

      story.smoke = true;
      const summary = path.join(clone.root, 'summary.md');
      await clone.edit(WORKFLOW, (text) => text.replace('"ImageSharpen"', '"NoSuchNode"'));
      await clone.commit('broken');
      const broken = await story.deploy(['--summary', summary]);
      expect([broken.code, broken.results], broken.stderr).toEqual([1, { 'photo-finish': 'rolled_back' }]);
      expect(await readFile(summary, 'utf8')).toContain('NoSuchNode');

      expect((await story.ryla(['rollback', 'photo-finish', '--to', 'v1'])).code).toBe(0);
      const drift = await story.ryla(['drift', '--json']);
      expect(drift.code, drift.stderr).toBe(3);
      expect(JSON.parse(drift.stdout)).toMatchObject({
        endpoints: [
          { endpoint: 'flux-schnell', action: 'unchanged' },
          { endpoint: 'photo-finish', action: 'update', reasons: [{ file: WORKFLOW }] },
        ],
      });
    },
  );
});
