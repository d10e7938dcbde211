import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { parseMigrationFile, stageChange } from '@ryla/migration';
import { afterAll, describe, it } from 'vitest';

import { writeChange } from './migration-place.ts';

const folder = await mkdtemp(path.join(tmpdir(), 'ryla-migration-file-'));
afterAll(() => rm(folder, { recursive: true }));

const names = Array.from({ length: 12 }, (_, index) => `endpoint-${index}`);

async function fileOf(name: string): Promise<string> {
  const file = path.join(folder, name);
  const endpoints = Object.fromEntries(names.map((each) => [each, { stage: 'off' }]));
  await writeFile(file, JSON.stringify({ endpoints }, undefined, 2));
  return file;
}

describe('a change of the migration file', () => {
  it('is lost in no other one that is made at the same moment', async () => {
    const file = await fileOf('many.json');
    const text = await readFile(file, 'utf8');
    const changes = names.map((name) => stageChange(text, name, 'shadow'));
    await Promise.all(changes.map((change) => writeChange(file, change!)));
    const { endpoints } = parseMigrationFile(await readFile(file, 'utf8'));
    assert.deepEqual(
      Object.values(endpoints).map(({ stage }) => stage),
      names.map(() => 'shadow'),
    );
    assert.ok(!(await readdir(folder)).includes('many.json.new'));
  });

  it('that cannot be made leaves the file, and nothing beside it', async () => {
    const file = await fileOf('broken.json');
    await writeFile(file, '{');
    await assert.rejects(writeChange(file, { endpoint: 'endpoint-1', to: 'shadow' }), /not JSON/);
    assert.equal(await readFile(file, 'utf8'), '{');
    assert.ok(!(await readdir(folder)).includes('broken.json.new'));
  });

  it('says what is in the way when somebody else does not come to an end', async () => {
    const file = await fileOf('held.json');
    await writeFile(`${file}.new`, '');
    await assert.rejects(writeChange(file, { endpoint: 'endpoint-1', to: 'shadow' }, 50), /held\.json\.new/);
  });
});
