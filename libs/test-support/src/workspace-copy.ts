/** Parts of a copy of the workspace that may be changed, with a Node and an Nx of its own. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readlink, symlink } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

/** Files of a checkout that git knows or would take and that are there, from its root. */
export async function workspaceFiles(root: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)('git', ['ls-files', '-co', '--exclude-standard', '-z'], {
    cwd: root,
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.split('\0').filter((file) => file !== '' && existsSync(path.join(root, file)));
}

/** The installed packages of a workspace for a copy of it; the workspace's own packages are those of the copy. */
export async function linkPackages(workspace: string, copy: string): Promise<void> {
  const from = path.join(workspace, 'node_modules');
  const to = path.join(copy, 'node_modules');
  await mkdir(path.join(to, '@ryla'), { recursive: true });
  for (const name of await readdir(from))
    if (name !== '@ryla' && name !== '.vite') await symlink(path.join(from, name), path.join(to, name));
  for (const name of await readdir(path.join(from, '@ryla')))
    await symlink(await readlink(path.join(from, '@ryla', name)), path.join(to, '@ryla', name));
}

/**
 * This process's environment for an Nx in a copy of the workspace: apart from the Nx and the vitest that may be running this,
 * without a daemon, with its cache in the copy.
 *
 * @param without further variables that must not reach it.
 */
export function nxEnvironment(copy: string, without?: RegExp): Record<string, string | undefined> {
  const outer = Object.entries(process.env).filter(
    ([name]) => !/^(?:NX_|INIT_CWD$|VITEST)/.test(name) && without?.test(name) !== true,
  );
  return {
    ...Object.fromEntries(outer),
    NX_DAEMON: 'false',
    NX_ISOLATE_PLUGINS: 'false',
    NX_WORKSPACE_ROOT_PATH: copy,
    NX_WORKSPACE_DATA_DIRECTORY: path.join(copy, '.nx/workspace-data'),
    NX_CACHE_DIRECTORY: path.join(copy, '.nx/cache'),
    NO_COLOR: '1',
    FORCE_COLOR: undefined,
  };
}
