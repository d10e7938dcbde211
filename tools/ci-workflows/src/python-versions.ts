/**
 * The version of the Python projects is the version of the npm packages: changesets change package.json only.
 * `release:version` runs this after them; `--check` only compares.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { runStep } from './step-output.ts';

/** The package whose version is the workspace's; .changeset/config.json gives all of them the same. */
const LEADING_PACKAGE = 'libs/business/package.json';

/**
 * A pyproject.toml with another version, and not a character else changed.
 *
 * @throws {Error} where `[project]` has no literal version.
 */
export function withVersion(text: string, version: string): string {
  const [start, end] = versionSpan(text);
  return text.slice(0, start) + version + text.slice(end);
}

/** The version of a pyproject.toml. */
export function versionOf(text: string): string {
  return text.slice(...versionSpan(text));
}

function versionSpan(text: string): [number, number] {
  const table = /^\[project\][ \t]*(?:#.*)?$/m.exec(text);
  const begin = table === null ? -1 : table.index + table[0].length;
  const next = begin < 0 ? null : /^\[/m.exec(text.slice(begin));
  const found =
    begin < 0
      ? null
      : /^version[ \t]*=[ \t]*(["'])([^"'\n]*)\1/m.exec(
          text.slice(begin, begin + (next?.index ?? text.length)),
        );
  if (found?.[2] === undefined) throw new Error('[project] has no version = "…" in it.');
  const end = begin + found.index + found[0].length - 1;
  return [end - found[2].length, end];
}

/** Members of the uv workspace, from the root's pyproject.toml. */
export function workspaceMembers(text: string): string[] {
  const list = /^\[tool\.uv\.workspace\][^[]*?^members[ \t]*=[ \t]*\[([^\]]*)\]/m.exec(text)?.[1];
  if (list === undefined) throw new Error('pyproject.toml has no members in [tool.uv.workspace].');
  return [...list.matchAll(/["']([^"']+)["']/g)].map(([, member = '']) => member);
}

/**
 * Gives every Python project of a workspace the version of its npm packages.
 *
 * @returns the files that had another version.
 */
export function updatePythonVersions(root: string, options: { readonly check: boolean }): string[] {
  const version = packageVersion(root);
  const members = workspaceMembers(readFileSync(path.join(root, 'pyproject.toml'), 'utf8'));
  return members
    .map((member) => path.posix.join(member, 'pyproject.toml'))
    .filter((file) => {
      const text = readFileSync(path.join(root, file), 'utf8');
      if (versionOf(text) === version) return false;
      if (!options.check) writeFileSync(path.join(root, file), withVersion(text, version));
      return true;
    });
}

function packageVersion(root: string): string {
  const value: unknown = JSON.parse(readFileSync(path.join(root, LEADING_PACKAGE), 'utf8'));
  if (typeof value === 'object' && value !== null && 'version' in value && typeof value.version === 'string')
    return value.version;
  throw new Error(`${LEADING_PACKAGE} has no version.`);
}

if (process.argv[1] === path.resolve(import.meta.filename)) {
  await runStep(() => {
    const check = process.argv.includes('--check');
    const files = updatePythonVersions(process.cwd(), { check });
    for (const file of files)
      console.log(`${file}: ${check ? 'has another version' : 'brought to the new version'}`);
    if (check && files.length > 0)
      throw new Error('Run `npm run release:version`, or set these versions by hand.');
  });
}
