import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { describe, it } from 'vitest';

import { MigrationError } from '../migration-error.ts';
import { stageChange } from './file-change.ts';
import {
  backendsOf,
  migrationJsonSchema,
  migrationOf,
  parseMigrationFile,
  readMigrationFile,
} from './migration-file.ts';

describe('the migration file', () => {
  it('has a default for everything, and permits nothing', () => {
    const flux = migrationOf(parseMigrationFile('{"endpoints": {"flux": {}}}'), 'flux');
    assert.equal(flux.stage, 'off');
    assert.deepEqual(flux.shadow, { share: 0.05, usdPerDay: 5 });
    assert.equal(flux.thresholds.errorRate.negligible, 0.01);
    assert.deepEqual(backendsOf(flux, 'flux'), { old: 'runpod:flux', new: 'modal:flux' });
  });

  it.each([
    ['{', 'is not JSON'],
    ['{"endpoint": {}}', 'endpoint'],
    ['{"endpoints": {"flux": {"stage": "canary_10"}}}', 'endpoints.flux.stage'],
    ['{"endpoints": {"flux": {"shadow": {"share": 5}}}}', 'endpoints.flux.shadow.share'],
    [
      '{"endpoints": {"flux": {"thresholds": {"errorRate": {"rollBackAbove": 3}}}}}',
      'rollBackAbove must be below',
    ],
    ['{"endpoints": {"Flux": {}}}', 'endpoints.Flux'],
  ])('%s is refused with its place', (text, expected) => {
    assert.throws(
      () => parseMigrationFile(text),
      (error) => {
        assert.ok(MigrationError.isInstance(error));
        assert.equal(error.code, 'invalid_file');
        assert.ok(error.message.includes(expected), error.message);
        return true;
      },
    );
  });

  it('has the schema that editors read', async () => {
    const file = path.join(import.meta.dirname, '../../schema/migration.schema.json');
    const written: unknown = JSON.parse(await readFile(file, 'utf8'));
    assert.deepEqual(written, JSON.parse(JSON.stringify(migrationJsonSchema())), 'run `npm run schema`');
  });

  it('is read from the root of the workspace', async () => {
    const root = await mkdtemp(path.join(tmpdir(), 'ryla-file-'));
    try {
      await assert.rejects(readMigrationFile(root), /There is no ryla.migration.json/);
      await writeFile(path.join(root, 'ryla.migration.json'), '{"endpoints": {}}');
      assert.deepEqual(await readMigrationFile(root), { endpoints: {} });
    } finally {
      await rm(root, { recursive: true });
    }
  });
});

describe('a proposed change', () => {
  const text = `{
  "endpoints": {
    "other": { "stage": "live" },
    "flux": {
      "stage": "live",
      "shadow": { "share": 0.1 }
    },
    "bare": {}
  }
}
`;

  it('changes one line and keeps the rest as it is written', () => {
    const change = stageChange(text, 'flux', 'shadow');
    assert.equal(change?.diff, '-      "stage": "live",\n+      "stage": "shadow",');
    assert.equal(change.text, text.replace('"stage": "live",', '"stage": "shadow",'));
  });

  it('adds a stage that was not written', () => {
    const { text: after = '' } = stageChange(text, 'bare', 'shadow') ?? {};
    assert.equal(parseMigrationFile(after).endpoints['bare']?.stage, 'shadow');
    assert.equal(parseMigrationFile(after).endpoints['flux']?.stage, 'live');
  });

  it('is none where the file says so already', () => {
    assert.equal(stageChange(text, 'flux', 'live'), undefined);
  });
});
