/** What the workflows must do, in order: each part builds on what those before it have deployed. */
import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { type RunReport, type RunRequest, runWorkflow } from './act.ts';
import { LocalAdvisories } from './local-advisories.ts';
import type { LocalGitHub } from './local-github.ts';
import { type Origin, REPOSITORY } from './origin.ts';
import type { TestClouds } from './test-clouds.ts';

/** Everything that the workflows touch. */
export interface World {
  readonly folder: string;
  readonly origin: Origin;
  readonly github: LocalGitHub;
  readonly clouds: TestClouds;
  /** Hears of each run. */
  readonly onRun: (title: string, report: RunReport) => void;
}

/** A part of the story. */
export interface Part {
  readonly name: string;
  readonly play: (world: World) => Promise<void>;
}

const ENDPOINT = 'apps/endpoints/photo-finish/endpoint.json';
const VARIABLES = { DEPLOY_MODAL: 'true', DEPLOY_RUNPOD: 'true', PREVIEW_MODAL: 'true', RELEASE: 'true' };

interface Expected {
  readonly title: string;
  readonly succeeds: boolean;
}

/** Runs a workflow for what is on main, and lets GitHub know how it ended. */
async function run(world: World, request: RunRequest, { title, succeeds }: Expected): Promise<RunReport> {
  const { origin, github, clouds, folder } = world;
  const report = await runWorkflow(
    { variables: VARIABLES, secrets: clouds.secrets, ...request },
    { origin, folder, apiUrl: github.url, env: clouds.env },
  );
  world.onRun(`${request.workflow}: ${title}`, report);
  const commit = await origin.git('rev-parse', 'HEAD');
  github.runs.push({
    workflow: `${request.workflow}.yml`,
    event: request.event,
    commit,
    succeeded: report.succeeded,
  });
  assert.equal(
    report.succeeded,
    succeeds,
    `${title}: the run should have ${succeeds ? 'succeeded' : 'failed'}\n${report.log}`,
  );
  return report;
}

const push = (workflow: string): RunRequest => ({
  workflow,
  event: 'push',
  payload: { ref: 'refs/heads/main' },
});
const dispatch = (workflow: string, inputs: Record<string, unknown>): RunRequest => ({
  workflow,
  event: 'workflow_dispatch',
  payload: { ref: 'refs/heads/main', inputs },
});

async function pullRequest(
  origin: Origin,
  action: string,
  number: number,
  from = REPOSITORY,
): Promise<unknown> {
  const base = { ref: 'main', sha: await origin.git('rev-parse', 'main') };
  const head = { ref: 'change', repo: { full_name: from }, sha: await origin.git('rev-parse', 'HEAD') };
  return { action, number, pull_request: { number, base, head, user: { login: 'somebody' } } };
}

/** A branch with a change of one endpoint. */
async function changeInBranch(origin: Origin, name: string): Promise<void> {
  await origin.git('switch', '-q', '-c', name, 'main');
  await origin.edit(ENDPOINT, (text) => text.replace('"maxContainers": ', '"maxContainers": 1'));
  await origin.commit('A change in a pull request');
}

async function deployModal(world: World): Promise<void> {
  const { origin, clouds } = world;
  const unknown = await run(world, push('deploy-modal'), {
    title: 'without an earlier deploy',
    succeeds: false,
  });
  assert.match(unknown.log, /There is no successful deploy among the last 100 commits/);
  assert.deepEqual(await clouds.modalApps('main'), []);

  const first = await run(world, dispatch('deploy-modal', { base: 'none' }), {
    title: 'the first deploy ever',
    succeeds: true,
  });
  assert.deepEqual(await clouds.modalApps('main'), [
    'ryla-flux-schnell',
    'ryla-photo-finish',
    'ryla-z-image-turbo',
  ]);
  assert.match(first.summary, /\| `photo-finish` \| modal \| ✅ deployed v1/);

  await origin.edit('apps/endpoints/photo-finish/README.md', (text) => `${text}\nMore words.\n`);
  await origin.commit('README');
  const readme = await run(world, push('deploy-modal'), { title: 'a README', succeeds: true });
  assert.match(readme.summary, /`photo-finish` \| modal \| ➖ unchanged/);

  await origin.edit(ENDPOINT, (text) => text.replace('"scaledownWindow": 60', '"scaledownWindow": 90'));
  await origin.edit('apps/endpoints/flux-schnell/workflow.json', (text) =>
    text.replace('"class_type": "KSampler"', '"class_type": "NoSuchNode"'),
  );
  await origin.commit('One good change, one bad one');
  const half = await run(world, push('deploy-modal'), { title: 'one of two fails', succeeds: false });
  assert.match(half.summary, /`photo-finish` \| modal \| ✅ deployed v2/);
  assert.match(half.summary, /`flux-schnell` \| modal \| ❌/);

  await origin.git('checkout', 'HEAD~1', '--', 'apps/endpoints/flux-schnell/workflow.json');
  await origin.commit('The bad change taken back');
  const mended = await run(world, push('deploy-modal'), { title: 'the bad one is mended', succeeds: true });
  assert.match(mended.summary, /`photo-finish` \| modal \| ➖ unchanged/);
  // As it was at the base, and the failed deploy was rolled back: nothing to look at.
  assert.doesNotMatch(mended.summary, /flux-schnell/);
}

async function switchedOff(world: World): Promise<void> {
  const before = await world.clouds.modalApps('main');
  const { runs } = world.github;
  const count = runs.length;
  // act evaluates the matrix of a job that is skipped, GitHub does not: of deploy-runpod its first job only.
  const requests = [push('deploy-modal'), { ...push('deploy-runpod'), job: 'plan' }, dispatch('drift', {})];
  for (const request of requests)
    await run(world, { ...request, variables: {} }, { title: 'switched off', succeeds: true });
  // GitHub calls a run of which every job was skipped `skipped`, not `success`.
  runs.splice(count);
  assert.deepEqual(await world.clouds.modalApps('main'), before);
  assert.equal(world.github.issues.length, 0);
}

async function deployRunpod(world: World): Promise<void> {
  const { origin, clouds, folder } = world;
  const first = await run(world, dispatch('deploy-runpod', { base: 'none' }), {
    title: 'the first deploy ever',
    succeeds: true,
  });
  assert.match(first.summary, /`photo-finish` \| runpod \| ✅ deployed/);
  const images = await clouds.runpodImages();
  assert.deepEqual(Object.keys(images).sort(), [
    'ryla-flux-schnell',
    'ryla-photo-finish',
    'ryla-z-image-turbo',
  ]);
  const built = (await readFile(path.join(folder, 'registry.txt'), 'utf8')).trim().split('\n');
  // Endpoints with one version of ComfyUI ask for the same, so that one image is enough for them.
  assert.equal(built.length, 2);
  const own = built.find((line) => line.includes('ENDPOINT=z-image-turbo'));
  const shared = built.find((line) => line !== own);
  for (const [name, image] of Object.entries(images)) {
    const [, digest = ''] = (name === 'ryla-z-image-turbo' ? own : shared)?.split(' ') ?? [];
    assert.ok(digest !== '' && image.endsWith(`@${digest}`), image);
  }

  await origin.edit(ENDPOINT, (text) => text.replace('"maxContainers": 2', '"maxContainers": 3'));
  await origin.commit('Scaling only');
  const scaled = await run(world, push('deploy-runpod'), { title: 'scaling only', succeeds: true });
  assert.match(scaled.summary, /`photo-finish` \| runpod \| ✅ deployed/);
  // The image is there already: it is neither built nor pushed again.
  assert.equal((await readFile(path.join(folder, 'registry.txt'), 'utf8')).trim().split('\n').length, 2);

  await origin.edit(ENDPOINT, (text) =>
    text.replace(
      '"comfyui": { "version": "0.3.64" }',
      '"comfyui": { "version": "0.3.64" },\n  "image": { "systemPackages": ["libegl1"] }',
    ),
  );
  await origin.edit('apps/endpoints/flux-schnell/endpoint.json', (text) =>
    text.replace('"maxContainers": 2', '"maxContainers": 4'),
  );
  await origin.commit('One image cannot be built');
  await writeFile(path.join(folder, 'unbuildable.txt'), 'ENDPOINT=photo-finish\n');
  const half = await run(world, push('deploy-runpod'), {
    title: 'one image cannot be built',
    succeeds: false,
  });
  assert.match(half.log, /ENDPOINT=photo-finish cannot be built/);
  assert.match(half.summary, /`photo-finish` \| runpod \| ⚠️ refused/);
  assert.match(half.summary, /`flux-schnell` \| runpod \| ✅ deployed/);
  await rm(path.join(folder, 'unbuildable.txt'));
  await origin.git('revert', '--no-edit', 'HEAD');
}

async function drift(world: World): Promise<void> {
  const { github, clouds } = world;
  for (const workflow of ['deploy-modal', 'deploy-runpod'])
    await run(world, dispatch(workflow, { base: 'none' }), { title: 'main is deployed', succeeds: true });
  await run(world, dispatch('drift', {}), { title: 'nothing has drifted', succeeds: true });
  assert.equal(github.issues.length, 0);

  await clouds.modal('app', 'stop', 'ryla-photo-finish', '--yes');
  await run(world, dispatch('drift', {}), { title: 'an app was stopped by hand', succeeds: true });
  assert.equal(github.issues.length, 1);
  assert.match(github.issues[0]?.body ?? '', /`photo-finish` \| modal \| to create/);
  await run(world, dispatch('drift', {}), { title: 'still so', succeeds: true });
  assert.equal(github.issues.length, 1);

  await run(world, dispatch('deploy-modal', { base: 'none' }), { title: 'brought back', succeeds: true });
  await run(world, dispatch('drift', {}), { title: 'all is well again', succeeds: true });
  assert.deepEqual(
    github.issues.map(({ state }) => state),
    ['closed'],
  );
}

async function preview(world: World): Promise<void> {
  const { origin, clouds } = world;
  await changeInBranch(origin, 'preview');
  const request = async (action: string, from?: string): Promise<RunRequest> => ({
    workflow: 'preview',
    event: 'pull_request',
    payload: await pullRequest(origin, action, 7, from),
  });
  await run(world, await request('opened', 'stranger/workspace'), {
    title: "a fork's pull request",
    succeeds: true,
  });
  assert.equal(await clouds.modalApps('pr-7'), undefined);
  const opened = await run(world, await request('opened'), { title: 'opened', succeeds: true });
  assert.deepEqual(await clouds.modalApps('pr-7'), ['ryla-photo-finish']);
  assert.match(opened.summary, /`photo-finish` \| modal \| ✅ deployed v1/);
  const again = await run(world, await request('synchronize'), { title: 'pushed to again', succeeds: true });
  assert.match(again.summary, /`photo-finish` \| modal \| ➖ unchanged/);
  await run(world, await request('closed'), { title: 'closed', succeeds: true });
  assert.equal(await clouds.modalApps('pr-7'), undefined);
  await origin.git('switch', '-q', 'main');
}

async function plan(world: World): Promise<void> {
  const { origin, clouds } = world;
  await changeInBranch(origin, 'plan');
  const request: RunRequest = {
    workflow: 'ci',
    event: 'pull_request',
    job: 'plan',
    payload: await pullRequest(origin, 'opened', 7),
  };
  const before = await clouds.modalApps('main');
  const own = await run(world, request, { title: 'the plan of a pull request', succeeds: true });
  assert.match(own.summary, /`photo-finish` \| modal \| to (?:create|update)/);
  const fork = await run(
    world,
    { ...request, secrets: {} },
    { title: "the plan of a fork's pull request", succeeds: true },
  );
  assert.match(fork.summary, /what is live is not known/);
  assert.match(fork.summary, /\| `photo-finish` \|/);
  assert.doesNotMatch(fork.summary, /flux-schnell/);
  assert.deepEqual(await clouds.modalApps('main'), before);
  await origin.git('switch', '-q', 'main');
}

async function release(world: World): Promise<void> {
  await run(
    world,
    { ...push('release'), job: 'version' },
    { title: 'changesets become a version', succeeds: true },
  );
  const diff = await readFile(path.join(world.folder, 'version.diff'), 'utf8');
  const versions = [...diff.matchAll(/^\+ *"?version"? ?[=:] ?"([^"]+)"/gm)].map(([, version]) => version);
  assert.ok(versions.length > 10, `package.json, pyproject.toml and both lock files: ${versions.length}`);
  assert.equal(new Set(versions).size, 1, `one version: ${versions.join(', ')}`);
  for (const file of [
    'libs/business/CHANGELOG.md',
    'apps/modal/pyproject.toml',
    'uv.lock',
    'package-lock.json',
  ])
    assert.ok(diff.includes(`+++ b/${file}`), `${file} changes`);
  await publish(world);
}

/** With the changesets used up and without a token: what npm would get is checked, and versions are tagged. */
async function publish(world: World): Promise<void> {
  const { origin, folder } = world;
  await origin.git('rm', '-q', '--', '.changeset/*.md');
  await origin.edit('.changeset/README.md', () => '# Changesets\n');
  await origin.commit('New version');
  const tagged = await run(world, push('release'), {
    title: 'a version without a token is tagged',
    succeeds: true,
  });
  assert.match(tagged.log, /@ryla\/nx-comfyui: made and validated an endpoint/);
  const said = await readFile(path.join(folder, 'published.txt'), 'utf8');
  assert.match(said, /NPM_TOKEN is not set/);
  const tags = await readFile(path.join(folder, 'published.ndjson'), 'utf8');
  for (const name of ['business', 'migration', 'runpod-management', 'workflow', 'nx-comfyui'])
    assert.match(tags, new RegExp(`"git-tag".*"@ryla/${name}@|"@ryla/${name}@.*"git-tag"`));
}

/** A pull request that adds one small project, with a changeset. */
async function smallChange(origin: Origin, branch: string): Promise<void> {
  await origin.git('switch', '-q', '-c', branch, 'main');
  await origin.edit('tools/small/project.json', () => smallProject('echo small was tested'));
  await origin.edit(
    '.changeset/words-of-a-test.md',
    () => "---\n'@ryla/workflow': patch\n---\n\nMore words.\n",
  );
  await origin.commit('A small project');
}

function smallProject(test: string): string {
  const project = {
    name: 'small',
    $schema: '../../node_modules/nx/schemas/project-schema.json',
    targets: { test: { command: test } },
  };
  return `${JSON.stringify(project, null, 2)}\n`;
}

/** Every job of ci.yml, for a pull request and for a push. */
async function ci(world: World): Promise<void> {
  const { origin } = world;
  await smallChange(origin, 'small');
  const request = async (): Promise<RunRequest> => ({
    workflow: 'ci',
    event: 'pull_request',
    payload: await pullRequest(origin, 'opened', 8),
  });
  const good = await run(world, await request(), { title: 'a pull request', succeeds: true });
  for (const said of [
    /All matched files use Prettier code style/,
    /small was tested/,
    /publint and are-the-types-wrong/,
    /made and validated an endpoint in an empty workspace/,
    /zizmor: nothing found/,
  ])
    assert.match(good.log, said);

  await origin.edit('tools/small/project.json', () => smallProject('echo small is broken && false'));
  await origin.commit('Broken');
  const bad = await run(world, await request(), {
    title: 'a pull request that is not ready',
    succeeds: false,
  });
  assert.match(bad.log, /small is broken/);
  for (const job of ['affected', 'required'])
    assert.match(bad.log, new RegExp(`\\[ci/${job} *\\].*Job failed`));

  await origin.git('switch', '-q', 'main');
  // All of .ci/run is what its caller runs; here, that it is called, and that its end is the job's.
  for (const [said, succeeds] of [
    ['1 passed, 0 failed', true],
    ['0 passed, 1 failed', false],
  ] as const) {
    await origin.edit(
      '.ci/run',
      () => `#!/bin/sh\necho 'instead of everything: ${said}'\n${succeeds ? 'true' : 'false'}\n`,
    );
    await origin.commit('A short .ci/run');
    const report = await run(
      world,
      { ...push('ci'), job: 'everything' },
      { title: `main: ${said}`, succeeds },
    );
    assert.ok(report.log.includes(`instead of everything: ${said}`));
  }
}

async function security(world: World): Promise<void> {
  const { origin } = world;
  await using advisories = await LocalAdvisories.start();
  const job = (name: string): RunRequest => ({ ...push('security'), job: name, env: advisories.env });
  await run(world, job('dependencies'), { title: 'dependencies without advisories', succeeds: true });
  assert.ok(advisories.asked.npm.has('undici') && advisories.asked.python.has('modal'), 'both were asked');
  advisories.vulnerable = 'modal';
  const found = await run(world, job('dependencies'), { title: 'one with an advisory', succeeds: false });
  assert.match(found.log, /PYSEC-2026-1/);

  await run(world, job('secrets'), { title: 'no secret in the history', succeeds: true });
  // Made here, so that no scanner finds it in this file.
  const key = `ghp_${'aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5'.slice(0, 36)}`;
  await origin.edit('docs/notes.txt', () => `token = "${key}"\n`);
  await origin.commit('A secret');
  await origin.git('rm', '-q', 'docs/notes.txt');
  await origin.commit('The secret taken out again');
  const leaked = await run(world, job('secrets'), { title: 'a secret in the history', succeeds: false });
  assert.match(leaked.log, /leaks found: 1/);
  assert.ok(!leaked.log.includes(key), 'it is not printed');
  await origin.git('reset', '-q', '--hard', 'HEAD~2');
}

/** The whole story. */
export const STORY: readonly Part[] = [
  { name: 'deploy-modal', play: deployModal },
  { name: 'deploy-runpod', play: deployRunpod },
  { name: 'switched-off', play: switchedOff },
  { name: 'drift', play: drift },
  { name: 'preview', play: preview },
  { name: 'plan', play: plan },
  { name: 'ci', play: ci },
  { name: 'security', play: security },
  { name: 'release', play: release },
];
