import { execFile } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

/** What git's own files, and git where it is installed, say of a checkout. */
export interface GitCheckout {
  readonly commit: string | undefined;
  /** Address of the remote `origin`, or of the only remote. */
  readonly remote: string | undefined;
  /** Changed files, and Python files that git does not know; `undefined` where git could not be asked. */
  readonly changed: readonly string[] | undefined;
  /** Whether a branch of a remote has the commit; `undefined` where that cannot be told. */
  readonly isPublished: boolean | undefined;
  /** Tags of the commit; empty where it has none or git could not be asked. */
  readonly tags: readonly string[];
}

/** Longest answer of git that is read, in bytes. */
const LONGEST_ANSWER = 16 * 1024 * 1024;

/** Reads the checkout whose top is this folder; `undefined` where it is none. */
export async function readCheckout(folder: string): Promise<GitCheckout | undefined> {
  const gitFolder = findGitFolder(folder);
  if (gitFolder === undefined) return undefined;
  const common = commonFolder(gitFolder);
  const commit = headCommit(gitFolder, common);
  const status = await git(folder, gitFolder, [
    'status',
    '--porcelain=v1',
    '--untracked-files=normal',
    '--ignore-submodules=none',
  ]);
  const branches =
    commit === undefined
      ? undefined
      : await git(folder, gitFolder, ['branch', '--remotes', '--contains', commit]);
  const tags =
    commit === undefined ? undefined : await git(folder, gitFolder, ['tag', '--points-at', commit]);
  const lines = (text: string) => text.split('\n').filter((line) => line.trim() !== '');
  return {
    commit,
    remote: remoteAddress(common),
    changed:
      status === undefined
        ? undefined
        : lines(status)
            .filter(isChange)
            .map((line) => line.slice(3)),
    isPublished: branches === undefined ? undefined : lines(branches).length > 0,
    tags: tags === undefined ? [] : lines(tags),
  };
}

/** A node's own settings and downloads lie in its folder unknown to git; only code makes another program of it. */
function isChange(line: string): boolean {
  return !line.startsWith('??') || /\.py"?$/.test(line) || line.endsWith('/');
}

function findGitFolder(folder: string): string | undefined {
  const entry = path.join(folder, '.git');
  if (!existsSync(entry)) return undefined;
  if (statSync(entry).isDirectory()) return entry;
  // A submodule or work tree has a file that names the folder.
  const target = /^gitdir: (.+)$/m.exec(readFileSync(entry, 'utf8'))?.[1];
  return target === undefined ? undefined : path.resolve(folder, target.trim());
}

function commonFolder(gitFolder: string): string {
  const file = path.join(gitFolder, 'commondir');
  return existsSync(file) ? path.resolve(gitFolder, readFileSync(file, 'utf8').trim()) : gitFolder;
}

function headCommit(gitFolder: string, common: string): string | undefined {
  let content = readIfThere(path.join(gitFolder, 'HEAD'))?.trim();
  for (let step = 0; step < 5 && content !== undefined; step += 1) {
    const ref = /^ref: (refs\/[^\0]+)$/.exec(content)?.[1];
    if (ref === undefined) return /^[0-9a-f]{40}$/.test(content) ? content : undefined;
    if (ref.split('/').includes('..')) return undefined;
    content =
      readIfThere(path.join(gitFolder, ref))?.trim() ??
      readIfThere(path.join(common, ref))?.trim() ??
      packedRef(common, ref);
  }
  return undefined;
}

function packedRef(common: string, ref: string): string | undefined {
  const lines = readIfThere(path.join(common, 'packed-refs'))?.split('\n') ?? [];
  return lines.find((line) => line.endsWith(` ${ref}`))?.split(' ')[0];
}

function remoteAddress(common: string): string | undefined {
  const addresses = new Map<string, string>();
  let remote: string | undefined;
  for (const line of (readIfThere(path.join(common, 'config')) ?? '').split('\n')) {
    const section = /^\s*\[(.+)\]\s*$/.exec(line)?.[1];
    if (section !== undefined) remote = /^remote "(.+)"$/.exec(section)?.[1];
    const url = /^\s*url\s*=\s*"?(.+?)"?\s*$/.exec(line)?.[1];
    if (remote !== undefined && url !== undefined && !addresses.has(remote)) addresses.set(remote, url);
  }
  return addresses.get('origin') ?? (addresses.size === 1 ? [...addresses.values()][0] : undefined);
}

function readIfThere(file: string): string | undefined {
  return existsSync(file) && statSync(file).isFile() ? readFileSync(file, 'utf8') : undefined;
}

/**
 * What git prints; `undefined` where it is missing or fails. Hooks and monitors that the checkout's own configuration
 * names are not run.
 */
function git(folder: string, gitFolder: string, args: readonly string[]): Promise<string | undefined> {
  const safe = [
    '-c',
    'core.fsmonitor=false',
    '-c',
    'core.hooksPath=/dev/null',
    '-c',
    'core.pager=cat',
    '-c',
    'safe.directory=*',
  ];
  const env = {
    PATH: process.env['PATH'],
    GIT_OPTIONAL_LOCKS: '0',
    GIT_TERMINAL_PROMPT: '0',
    GIT_CONFIG_NOSYSTEM: '1',
    LC_ALL: 'C',
  };
  return new Promise((resolve) => {
    execFile(
      'git',
      [...safe, `--git-dir=${gitFolder}`, `--work-tree=${folder}`, ...args],
      { cwd: folder, env, maxBuffer: LONGEST_ANSWER, timeout: 60_000 },
      (error, stdout) => resolve(error === null ? stdout : undefined),
    );
  });
}
