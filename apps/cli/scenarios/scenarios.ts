/** The histories, and exactly what each must deploy. */
import { strict as assert } from 'node:assert';
import { cp, rename, rm } from 'node:fs/promises';
import path from 'node:path';

import type { WorkspaceClone } from '../test-support/workspace-clone.ts';
import type { Deploy, Story } from './story.ts';

/** One scenario of the suite. */
export interface Scenario {
  readonly name: string;
  /** What must be deployed and why, for the table. */
  readonly expected: string;
  /** Plays it; throws where something else is deployed. Returns the deploy that is looked at. */
  play(story: Story): Promise<Deploy>;
}

const ENDPOINTS = 'apps/endpoints';
const PHOTO = `${ENDPOINTS}/photo-finish`;
/** Endpoints of the repository that the histories are of: as many as they need, so that others may be added to the workspace. */
export const ENDPOINT_NAMES = ['flux-schnell', 'photo-finish'];
const ALL = Object.fromEntries(ENDPOINT_NAMES.map((name) => [name, 'deployed']));
const PHOTO_ONLY = { 'photo-finish': 'deployed' };

/** A change after which exactly these are deployed, everything is as the repository says, and no other app has a new version. */
function change(
  name: string,
  expected: string,
  results: Readonly<Record<string, string>>,
  edit: (clone: WorkspaceClone) => Promise<unknown>,
): Scenario {
  return {
    name,
    expected,
    async play(story) {
      await story.begin();
      const before = await story.versions();
      const done = await story.push(edit);
      await check(story, done, results, before);
      return done;
    },
  };
}

async function check(
  story: Story,
  done: Deploy,
  results: Readonly<Record<string, string>>,
  before: Readonly<Record<string, number>>,
): Promise<void> {
  assert.deepEqual(done.results, results, done.stderr);
  assert.equal(done.code, 0, done.stderr);
  const grown = Object.entries(await story.versions())
    .filter(([endpoint, count]) => count !== (before[endpoint] ?? 0))
    .map(([endpoint]) => endpoint)
    .sort();
  const deployed = Object.entries(results).filter(([, result]) => result === 'deployed');
  assert.deepEqual(
    grown,
    deployed.map(([endpoint]) => endpoint),
    'other apps have a new version',
  );
  const left = Object.values(results).includes('refused') ? 3 : 0;
  assert.equal(await story.drift(), left, 'what is live is not what the repository says');
}

async function addEndpoint(clone: WorkspaceClone, name: string): Promise<void> {
  const folder = path.join(clone.root, ENDPOINTS, name);
  await cp(path.join(clone.root, PHOTO), folder, { recursive: true });
  await clone.edit(`${ENDPOINTS}/${name}/endpoint.json`, (text) =>
    text.replace('"name": "photo-finish"', `"name": "${name}"`),
  );
}

function bumpPython(clone: WorkspaceClone, name: string): Promise<void> {
  return clone.edit('uv.lock', (text) =>
    text.replace(new RegExp(`(\\[\\[package\\]\\]\nname = "${name}"\nversion = ")[^"]+`), '$199.0.0'),
  );
}

const brokenNode = (text: string): string => text.replace('"ImageSharpen"', '"NoSuchNode"');
const sharper = (text: string): string => text.replace('"alpha": 0.25', '"alpha": 0.5');

/** All of them. */
export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'first deploy ever',
    expected: 'every endpoint',
    async play(story) {
      const unknown = await story.deploy([], '');
      assert.equal(unknown.code, 2, 'an unknown base must be an error');
      const done = await story.deploy();
      await check(story, done, ALL, {});
      return done;
    },
  },
  change('source of the worker', 'every endpoint', ALL, (clone) =>
    clone.append('libs/worker/src/comfy_worker/__init__.py', '\n# A change.\n'),
  ),
  change('one workflow.json', 'that endpoint', PHOTO_ONLY, (clone) =>
    clone.edit(`${PHOTO}/workflow.json`, sharper),
  ),
  change('endpoint.json, scaling only', 'that endpoint', PHOTO_ONLY, (clone) =>
    clone.edit(`${PHOTO}/endpoint.json`, (text) =>
      text.replace('"scaledownWindow": 60', '"scaledownWindow": 90'),
    ),
  ),
  change('README only', 'nothing', {}, (clone) => clone.append(`${PHOTO}/README.md`, '\nMore.\n')),
  change('test only', 'nothing', {}, (clone) => clone.append(`${PHOTO}/client.test.ts`, '\n// More.\n')),
  change('docs only', 'nothing', {}, (clone) => clone.append('docs/architecture.md', '\nMore.\n')),
  change('lockfile bump of an unrelated package', 'nothing', {}, (clone) =>
    clone.edit('package-lock.json', (text) =>
      text.replace(/("node_modules\/fast-check": \{\s+"version": ")[^"]+/, '$199.0.0'),
    ),
  ),
  change('Python lock bump of a development tool', 'nothing', {}, (clone) => bumpPython(clone, 'ruff')),
  change(
    'Python lock bump of what a deployment runs with',
    'every endpoint: uv.lock pins the `modal` client that builds the app',
    ALL,
    (clone) => bumpPython(clone, 'h2'),
  ),
  change('nx.json', "every endpoint: nx.json is in every one of Nx's hashes", ALL, (clone) =>
    clone.edit('nx.json', (text) =>
      text.replace('"targetDefaults": {}', '"targetDefaults": {}, "parallel": 2'),
    ),
  ),
  change('new endpoint', 'that endpoint', { 'photo-proof': 'deployed' }, (clone) =>
    addEndpoint(clone, 'photo-proof'),
  ),
  change(
    'renamed endpoint',
    'the new name; the old one is shown, and removed only with --allow-undeploy',
    { 'photo-finish': 'refused', 'photo-proof': 'deployed' },
    async (clone) => {
      await rename(path.join(clone.root, PHOTO), path.join(clone.root, ENDPOINTS, 'photo-proof'));
      await clone.edit(`${ENDPOINTS}/photo-proof/endpoint.json`, (text) =>
        text.replace('"name": "photo-finish"', '"name": "photo-proof"'),
      );
      await clone.edit('ryla.config.ts', (text) => text.replace(/'photo-finish'/g, "'photo-proof'"));
    },
  ),
  {
    name: 'deleted endpoint',
    expected: 'nothing; it is shown, and removed only with --allow-undeploy',
    async play(story) {
      await story.begin();
      const before = await story.versions();
      const done = await story.push(async (clone) => {
        await rm(path.join(clone.root, PHOTO), { recursive: true });
        await clone.edit('ryla.config.ts', (text) => text.replace(/^.*'photo-finish'.*\n/m, ''));
      });
      await check(story, done, { 'photo-finish': 'refused' }, before);
      const later = await story.push((clone) => clone.append('docs/architecture.md', '\nMore.\n'));
      assert.deepEqual(later.results, { 'photo-finish': 'refused' }, 'forgotten by the next push');
      const removed = await story.deploy(['--allow-undeploy']);
      assert.deepEqual(removed.results, { 'photo-finish': 'undeployed' }, removed.stderr);
      assert.deepEqual(Object.keys(await story.versions()), ['flux-schnell']);
      assert.equal(await story.drift(), 0);
      return done;
    },
  },
  {
    name: 'revert commit',
    expected: 'that endpoint, both times',
    async play(story) {
      await story.begin();
      await story.push((clone) => clone.edit(`${PHOTO}/workflow.json`, sharper));
      const before = await story.versions();
      await story.clone.git('revert', '--no-edit', 'HEAD');
      const done = await story.deploy();
      await check(story, done, PHOTO_ONLY, before);
      return done;
    },
  },
  {
    name: 'failed deploy, then an unrelated push',
    expected: 'the failed one again, until it is mended',
    async play(story) {
      await story.begin();
      story.smoke = true;
      const failed = await story.push((clone) => clone.edit(`${PHOTO}/workflow.json`, brokenNode));
      assert.deepEqual([failed.code, failed.results], [1, { 'photo-finish': 'rolled_back' }], failed.stderr);
      const again = await story.push((clone) => clone.append('docs/architecture.md', '\nMore.\n'));
      assert.deepEqual([again.code, again.results], [1, { 'photo-finish': 'rolled_back' }], again.stderr);
      const before = await story.versions();
      const mended = await story.push((clone) =>
        clone.edit(`${PHOTO}/workflow.json`, (text) =>
          sharper(text.replace('"NoSuchNode"', '"ImageSharpen"')),
        ),
      );
      await check(story, mended, PHOTO_ONLY, before);
      return mended;
    },
  },
  {
    name: 'run killed after the deploy, before the small job ended',
    expected: 'that endpoint, once more, with its small job',
    async play(story) {
      await story.begin();
      story.smoke = true;
      await story.clone.edit(`${PHOTO}/workflow.json`, sharper);
      await story.clone.commit('A change');
      await story.deployUntil(/photo-finish: trying it/);
      const before = await story.versions();
      assert.equal(await story.drift(), 3, 'what nobody has tried is not as it should be');
      const done = await story.deploy();
      await check(story, done, PHOTO_ONLY, before);
      assert.deepEqual((await story.deploy([], 'none')).results, {}, 'it was tried, and is deployed again');
      return done;
    },
  },
  {
    name: 'force-push',
    expected: 'an error; with --base none, what differs from what is live',
    async play(story) {
      await story.begin();
      const first = story.base;
      await story.push((clone) => clone.edit(`${PHOTO}/workflow.json`, sharper));
      await story.clone.git('reset', '-q', '--hard', first);
      await story.clone.append('docs/architecture.md', '\nInstead.\n');
      await story.clone.commit('Instead');
      const refused = await story.deploy();
      assert.deepEqual([refused.code, refused.results], [2, {}]);
      assert.match(refused.stderr, /force-push/);
      const before = await story.versions();
      const done = await story.deploy([], 'none');
      await check(story, done, PHOTO_ONLY, before);
      return done;
    },
  },
  {
    name: 'shallow clone',
    expected: 'an error that says `git fetch --unshallow`; then that endpoint',
    async play(story) {
      await story.begin();
      await story.clone.edit(`${PHOTO}/workflow.json`, sharper);
      await story.clone.commit('A change');
      story.clone = await story.origin.clone({ from: story.clone.root, depth: 1 });
      const refused = await story.deploy();
      assert.deepEqual([refused.code, refused.results], [2, {}]);
      assert.match(refused.stderr, /git fetch --unshallow/);
      await story.clone.git('fetch', '-q', '--unshallow');
      const before = await story.versions();
      const done = await story.deploy();
      await check(story, done, PHOTO_ONLY, before);
      return done;
    },
  },
  {
    name: 'manual change on the live side',
    expected: 'drift tells; `deploy --all` deploys that endpoint',
    async play(story) {
      await story.begin();
      const env = { RYLA_ENDPOINT: 'photo-finish' };
      const byHand = ['deploy', 'comfyui_app.py', '--env', story.environment];
      const { code, stderr } = await story.account.modal(byHand, env, story.clone.root);
      assert.equal(code, 0, stderr);
      assert.equal(await story.drift(), 3);
      const before = await story.versions();
      const done = await story.deployAll();
      await check(story, done, PHOTO_ONLY, before);
      return done;
    },
  },
  {
    name: 'two pushes, one run after the other with the same base',
    expected: 'each endpoint once: the second run finds the first one done',
    async play(story) {
      await story.begin();
      const { base } = story;
      await story.push((clone) => clone.edit(`${PHOTO}/workflow.json`, sharper));
      const before = await story.versions();
      await story.clone.edit('apps/endpoints/flux-schnell/endpoint.json', (text) =>
        text.replace(/"scaledownWindow": \d+/, '"scaledownWindow": 77'),
      );
      await story.clone.commit('Another');
      const done = await story.deploy([], base);
      assert.deepEqual(done.selected, ['flux-schnell', 'photo-finish']);
      await check(story, done, { 'flux-schnell': 'deployed' }, before);
      return done;
    },
  },
  {
    name: 'two pushes at once, without a concurrency group',
    expected: 'the newer commit is live, or the run fails and says so; running it again ends it',
    async play(story) {
      await story.begin();
      await story.clone.edit(`${PHOTO}/workflow.json`, sharper);
      await story.clone.commit('One');
      const other = await story.origin.clone({ from: story.clone.root });
      await other.edit('apps/endpoints/flux-schnell/endpoint.json', (text) =>
        text.replace(/"scaledownWindow": \d+/, '"scaledownWindow": 77'),
      );
      await other.commit('Two');
      const { base } = story;
      await Promise.all([story.deploy([], base), story.deploy([], base, other)]);
      story.clone = other;
      const done = await story.deploy([], base);
      assert.equal(done.code, 0, done.stderr);
      assert.equal(await story.drift(), 0);
      return done;
    },
  },
];
