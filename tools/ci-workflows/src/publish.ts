/**
 * `npm run release:publish`: publishes what npm does not have yet, and tags it; without NPM_TOKEN it only tags. The action
 * that runs it pushes the tags that changesets writes into the file CHANGESETS_OUTPUT.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { z } from 'zod';

import { WORKSPACE_ROOT } from './pinned-tools.ts';
import { publishablePackages } from './publishable-packages.ts';
import { runStep } from './step-output.ts';

/** Where a package comes from. npm accepts provenance only from the repository that package.json names. */
export function withRepository(text: string, url: string, folder: string): string {
  const manifest = z.record(z.string(), z.unknown()).parse(JSON.parse(text));
  return `${JSON.stringify({ ...manifest, repository: { type: 'git', url: `git+${url}.git`, directory: folder } }, null, 2)}\n`;
}

if (process.argv[1] === path.resolve(import.meta.filename)) {
  await runStep(() => {
    const { NPM_TOKEN: token = '', GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository } = process.env;
    if (token === '') console.log('NPM_TOKEN is not set: versions are tagged, nothing is published.');
    else if (server === undefined || repository === undefined) throw new Error('This runs in a workflow.');
    else {
      for (const { folder } of publishablePackages(WORKSPACE_ROOT)) {
        const file = path.join(WORKSPACE_ROOT, folder, 'package.json');
        writeFileSync(file, withRepository(readFileSync(file, 'utf8'), `${server}/${repository}`, folder));
      }
    }
    const { status } = spawnSync('npx', ['--no', 'changeset', token === '' ? 'git-tag' : 'publish'], {
      cwd: WORKSPACE_ROOT,
      // The token reaches npm by its environment, never by a file.
      env: {
        ...process.env,
        ...(token === '' ? {} : { 'npm_config_//registry.npmjs.org/:_authToken': token }),
      },
      stdio: 'inherit',
    });
    if (status !== 0) throw new Error('changeset failed; what it printed is above.');
  });
}
