import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { changedFiles, endpointsAt, gitRange } from './git-range.ts';

describe('the commits of a deploy', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'git-range-'));
  const repository = path.join(folder, 'repository');
  const run = (cwd: string, ...args: string[]): string =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example', ...args], {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
  const commitAll = (message: string): string => {
    run(repository, 'add', '-A');
    run(repository, 'commit', '-q', '-m', message);
    return run(repository, 'rev-parse', 'HEAD');
  };
  let first = '';
  let second = '';

  beforeAll(() => {
    mkdirSync(path.join(repository, 'apps/endpoints/poster'), { recursive: true });
    run(repository, 'init', '-q', '-b', 'main');
    writeFileSync(path.join(repository, 'apps/endpoints/poster/endpoint.json'), '{}');
    first = commitAll('one');
    run(repository, 'mv', 'apps/endpoints/poster', 'apps/endpoints/placard');
    second = commitAll('two');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('takes base and head from options, else from the environment', async () => {
    expect(await gitRange(repository, { base: first, head: 'HEAD' }, {})).toEqual({
      base: first,
      head: second,
      headIsNamed: true,
    });
    expect(await gitRange(repository, {}, { NX_BASE: 'HEAD~1', NX_HEAD: '' })).toEqual({
      base: first,
      head: second,
      headIsNamed: false,
    });
    expect(await gitRange(repository, { base: 'none' }, { NX_BASE: first })).toMatchObject({ base: null });
  });

  it.each([
    ['no base', {}, 'NX_BASE'],
    ['a commit that is nowhere', { base: '0123456789012345678901234567890123456789' }, '--base none'],
    ['an option in place of a commit', { base: '--all' }, 'no commit --all'],
  ])('never guesses: %s', async (_case, options, says) => {
    await expect(gitRange(repository, options, {})).rejects.toMatchObject({
      code: 'unknown_base',
      message: expect.stringContaining(says) as string,
    });
  });

  it('refuses a base that a force-push has left behind', async () => {
    const other = path.join(folder, 'forced');
    run(folder, 'clone', '-q', repository, other);
    run(other, 'reset', '-q', '--hard', first);
    writeFileSync(path.join(other, 'other.txt'), 'x');
    run(other, 'add', '-A');
    run(other, 'commit', '-q', '-m', 'instead');
    await expect(gitRange(other, { base: second }, {})).rejects.toThrow(/force-push.*--base none/s);
  });

  it('says how to mend a shallow clone', async () => {
    const shallow = path.join(folder, 'shallow');
    run(folder, 'clone', '-q', '--depth=1', `file://${repository}`, shallow);
    await expect(gitRange(shallow, { base: first }, {})).rejects.toThrow('git fetch --unshallow');
  });

  it('refuses a head that is not checked out', async () => {
    await expect(gitRange(repository, { base: first, head: first }, {})).rejects.toMatchObject({
      code: 'wrong_head',
    });
  });

  it('knows the endpoints of a commit, and a rename as two files', async () => {
    expect(await endpointsAt(repository, first, 'apps/endpoints')).toEqual(['poster']);
    expect(await endpointsAt(repository, second, 'apps/endpoints')).toEqual(['placard']);
    expect(await changedFiles(repository, first, second)).toEqual([
      'apps/endpoints/placard/endpoint.json',
      'apps/endpoints/poster/endpoint.json',
    ]);
  });
});
