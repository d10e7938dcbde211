/** What a project runs with, by the workspace's own uv.lock, beside the real uv. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { WORKSPACE_ROOT } from './command-line.ts';
import { pythonPackages, pythonPackagesHash } from './python-packages.ts';

const lock = readFileSync(path.join(WORKSPACE_ROOT, 'uv.lock'), 'utf8');
const PROJECT = 'ryla-modal';
const before = pythonPackagesHash(lock, PROJECT);

const namesIn = (text: string): string[] =>
  [...text.matchAll(/^\[\[package\]\]\nname = "([^"]+)"/gm)].map(([, name]) => name ?? '');
const isMember = (name: string): boolean => /^(?:ryla-|comfy-worker|local-clouds|video-frames)/.test(name);

/** The lock with another text in a package's block. */
function edited(name: string, from: string, to: string): string {
  const begin = lock.indexOf(`[[package]]\nname = "${name}"\n`);
  const at = lock.indexOf(from, begin);
  expect(Math.min(begin, at)).toBeGreaterThan(0);
  return lock.slice(0, at) + to + lock.slice(at + from.length);
}

describe('packages of a project', () => {
  it('are those that uv exports without development dependencies, with their hashes', () => {
    const args = [
      'export',
      '--frozen',
      '--offline',
      '--no-dev',
      '--no-emit-workspace',
      '--no-annotate',
      '--no-header',
    ];
    const exported = execFileSync(
      path.join(WORKSPACE_ROOT, '.tools/bin/uv'),
      [...args, '--package', PROJECT],
      { cwd: WORKSPACE_ROOT, encoding: 'utf8' },
    );
    const wanted = exported
      .split(/\n(?=\S)/)
      .map((block) => [/^[^ ;]+/.exec(block)?.[0], ...(block.match(/sha256:\w+/g) ?? []).sort()].join(' '));
    const found = pythonPackages(lock, PROJECT)
      .filter((line) => !isMember(line))
      .map((line) => [line.split(' ')[0], ...(line.match(/sha256:\w+/g) ?? []).sort()].join(' '));
    expect(found).toEqual(wanted.sort());
    expect(found.length).toBeGreaterThan(20);
  });

  it('move with what is needed, however far, and with nothing else', () => {
    const needed = new Set(pythonPackages(lock, PROJECT).map((line) => line.split('==')[0]));
    expect(needed.has('modal') && needed.has('h2')).toBe(true);
    for (const development of ['ruff', 'pytest', 'av', 'hypothesis', 'boto3', 'runpod'])
      expect(needed.has(development)).toBe(false);
    for (const name of new Set(namesIn(lock))) {
      const after = pythonPackagesHash(edited(name, 'version = "', 'version = "99.'), PROJECT);
      expect([name, after === before]).toEqual([name, !needed.has(name)]);
    }
  });

  it('move with a hash, a marker, an extra and a new dependency', () => {
    const variants = [
      edited('h2', 'hash = "sha256:', 'hash = "sha256:0'),
      edited(PROJECT, '{ name = "modal" }', `{ name = "modal", marker = "sys_platform == 'linux'" }`),
      edited(PROJECT, '{ name = "uvicorn" }', '{ name = "uvicorn", extra = ["standard"] }'),
      edited(PROJECT, '    { name = "modal" },\n', '    { name = "modal" },\n    { name = "numpy" },\n'),
    ];
    expect(new Set([before, ...variants.map((text) => pythonPackagesHash(text, PROJECT))]).size).toBe(5);
  });

  it('do not move with the order of packages, the registry, or the ends of lines', () => {
    const [head, ...blocks] = lock.trimEnd().split('\n\n[[package]]\n');
    const reversed = [head, ...blocks.toReversed()].join('\n\n[[package]]\n');
    expect(pythonPackagesHash(`${reversed}\n`, PROJECT)).toBe(before);
    expect(
      pythonPackagesHash(lock.replaceAll('https://pypi.org/simple', 'https://mirror.example'), PROJECT),
    ).toBe(before);
    expect(pythonPackagesHash(lock.replaceAll('\n', '\r\n'), PROJECT)).toBe(before);
  });

  it('of one name and two versions are told apart; extras bring what they need', () => {
    const of = (name: string, version: string, needs: string): string =>
      `\n[[package]]\nname = "${name}"\nversion = "${version}"\nsource = { registry = "r" }\n${needs}`;
    const text = [
      'version = 1\n',
      of(
        'app',
        '1',
        'dependencies = [\n    { name = "b", version = "2", source = { registry = "r" }, marker = "m" },\n    { name = "c", extra = ["x"] },\n]\n',
      ),
      of('b', '1', ''),
      of('b', '2', ''),
      of(
        'c',
        '1',
        '\n[package.optional-dependencies]\nx = [\n    { name = "d" },\n]\ny = [\n    { name = "b", version = "1", source = { registry = "r" } },\n]\n',
      ),
      of('d', '1', 'dependencies = [\n    { name = "c" },\n]\n'),
    ].join('');
    expect(pythonPackages(text, 'app').map((line) => line.split(' ')[0])).toEqual([
      'app==1',
      'b==2',
      'c==1',
      'c==1',
      'd==1',
    ]);
  });

  it('of a lock that cannot be read are its whole text', () => {
    expect(() => pythonPackages(lock, 'nothing')).toThrow('no package nothing');
    const unknown = edited(PROJECT, '{ name = "modal" }', '{ "name" = "modal" }');
    expect(() => pythonPackages(unknown, PROJECT)).toThrow('cannot be read');
    expect(pythonPackagesHash(unknown, PROJECT)).not.toBe(pythonPackagesHash(`${unknown}\n`, PROJECT));
    expect(pythonPackagesHash('', PROJECT)).not.toBe(before);
  });
});
