/** Small git repositories in temporary folders. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const IDENTITY = [
  '-c',
  'user.name=Test',
  '-c',
  'user.email=test@example.com',
  '-c',
  'init.defaultBranch=main',
  '-c',
  'commit.gpgsign=false',
];

/** What git prints in a folder. */
export function git(folder: string, ...args: readonly string[]): string {
  return execFileSync('git', [...IDENTITY, ...args], {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();
}

/** Writes files into a folder, making folders as needed. */
export function writeFiles(folder: string, files: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), content);
  }
}

/** A repository with one commit of some files, as a clone of `remote` would be; returns the commit. */
export function clonedRepository(
  folder: string,
  remote: string | undefined,
  files: Readonly<Record<string, string>>,
): string {
  mkdirSync(folder, { recursive: true });
  git(folder, 'init', '--quiet');
  writeFiles(folder, files);
  git(folder, 'add', '--all');
  git(folder, 'commit', '--quiet', '--message', 'files');
  const commit = git(folder, 'rev-parse', 'HEAD');
  if (remote !== undefined) {
    git(folder, 'remote', 'add', 'origin', remote);
    git(folder, 'update-ref', 'refs/remotes/origin/main', commit);
  }
  return commit;
}

/** Python of a package that defines classes. */
export function nodePackage(...classes: readonly string[]): Record<string, string> {
  const mapping = classes.map((name) => `    "${name}": Node,`).join('\n');
  return { '__init__.py': `class Node:\n    pass\n\nNODE_CLASS_MAPPINGS = {\n${mapping}\n}\n` };
}
