import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { updatePythonVersions, versionOf, withVersion, workspaceMembers } from './python-versions.ts';

const ROOT = path.resolve(import.meta.dirname, '../../..');

const TEXT = `# version = "9"
[build-system]
requires = ["hatchling==1.27.0"]

[project] # ours
name = "worker"
requires-python = ">=3.11"
version = "0.1.0"  # of the workspace
dependencies = ["version == 1"]

[tool.other]
version = "7"
`;

describe('a version in pyproject.toml', () => {
  it('is that of [project]', () => {
    expect(versionOf(TEXT)).toBe('0.1.0');
  });

  it('changes, and nothing else does', () => {
    expect(withVersion(TEXT, '1.2.3-rc.1')).toBe(TEXT.replace('"0.1.0"', '"1.2.3-rc.1"'));
  });

  it('can be read back whatever it was', () => {
    const part = fc.nat({ max: 9999 });
    fc.assert(
      fc.property(part, part, part, fc.constantFrom('', '-rc.0', '.dev1'), (major, minor, patch, end) => {
        const version = `${major}.${minor}.${patch}${end}`;
        expect(versionOf(withVersion(TEXT, version))).toBe(version);
      }),
    );
  });

  it('must be there', () => {
    expect(() => versionOf('[project]\nname = "x"\n\n[tool.x]\nversion = "1"\n')).toThrow(/no version/);
    expect(() => versionOf('version = "1"\n')).toThrow(/no version/);
  });
});

describe('updatePythonVersions', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'versions-'));
    for (const folder of ['libs/business', 'libs/worker', 'apps/modal'])
      mkdirSync(path.join(root, folder), { recursive: true });
    writeFileSync(path.join(root, 'libs/business/package.json'), '{"version":"0.2.0"}');
    writeFileSync(
      path.join(root, 'pyproject.toml'),
      '[tool.uv.workspace]\nmembers = ["libs/worker", \'apps/modal\']\n',
    );
    writeFileSync(path.join(root, 'libs/worker/pyproject.toml'), TEXT);
    writeFileSync(path.join(root, 'apps/modal/pyproject.toml'), TEXT.replace('0.1.0', '0.2.0'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('brings every member to the version of the packages', () => {
    expect(updatePythonVersions(root, { check: false })).toEqual(['libs/worker/pyproject.toml']);
    expect(readFileSync(path.join(root, 'libs/worker/pyproject.toml'), 'utf8')).toBe(
      TEXT.replace('0.1.0', '0.2.0'),
    );
    expect(updatePythonVersions(root, { check: true })).toEqual([]);
  });

  it('changes nothing when it only checks', () => {
    expect(updatePythonVersions(root, { check: true })).toEqual(['libs/worker/pyproject.toml']);
    expect(readFileSync(path.join(root, 'libs/worker/pyproject.toml'), 'utf8')).toBe(TEXT);
  });
});

describe('this workspace', () => {
  it('has one version', () => {
    expect(workspaceMembers(readFileSync(path.join(ROOT, 'pyproject.toml'), 'utf8'))).toContain(
      'libs/worker',
    );
    expect(updatePythonVersions(ROOT, { check: true })).toEqual([]);
  });
});
