import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { linkPackages, nxEnvironment, workspaceFiles } from './workspace-copy.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'test-support-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

describe('a copy of the workspace', () => {
  it('has the files that git knows or would take, and no others', async () => {
    execFileSync('git', ['init', '-q'], { cwd: folder });
    await writeFile(path.join(folder, '.gitignore'), 'ignored\n');
    for (const name of ['ignored', 'new', 'gone', 'a name']) await writeFile(path.join(folder, name), '');
    execFileSync('git', ['add', 'gone'], { cwd: folder });
    await rm(path.join(folder, 'gone'));
    expect((await workspaceFiles(folder)).sort()).toEqual(['.gitignore', 'a name', 'new']);
  });

  it("has the workspace's packages, and its own projects in place of the workspace's", async () => {
    const [workspace, copy] = [path.join(folder, 'workspace'), path.join(folder, 'copy')];
    const packages = path.join(workspace, 'node_modules');
    for (const name of ['zod', '.vite', '@ryla']) await mkdir(path.join(packages, name), { recursive: true });
    await symlink('../../libs/business', path.join(packages, '@ryla/business'));
    await linkPackages(workspace, copy);
    expect(await readlink(path.join(copy, 'node_modules/zod'))).toBe(path.join(packages, 'zod'));
    expect(await readlink(path.join(copy, 'node_modules/@ryla/business'))).toBe('../../libs/business');
    await expect(readlink(path.join(copy, 'node_modules/.vite'))).rejects.toThrow('ENOENT');
  });

  it('has an Nx that knows nothing of the one that runs the test', () => {
    vi.stubEnv('NX_TASK_HASH', '1');
    vi.stubEnv('VITEST_POOL_ID', '1');
    vi.stubEnv('MODAL_TOKEN_ID', 'ak');
    vi.stubEnv('KEPT', 'yes');
    const env = nxEnvironment('/copy', /^MODAL_/);
    expect(env).toMatchObject({ KEPT: 'yes', NX_DAEMON: 'false', NX_CACHE_DIRECTORY: '/copy/.nx/cache' });
    for (const name of ['NX_TASK_HASH', 'VITEST_POOL_ID', 'MODAL_TOKEN_ID'])
      expect(env).not.toHaveProperty(name);
    expect(nxEnvironment('/copy')).toHaveProperty('MODAL_TOKEN_ID');
  });
});
