import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { parseEndpointConfig } from '@ryla/workflow';
import fc from 'fast-check';
import { describe, it } from 'vitest';

import { parseMigrationFile } from '../file/migration-file.ts';
import { MigrationError } from '../migration-error.ts';
import { type Account, mergeAccounts, parseExport } from './account.ts';
import { type ImportPlan, plannedFiles, planImport } from './import-plan.ts';
import { importReport } from './import-report.ts';
import { keyOf, leavesOf } from './ledger.ts';

const folder = path.join(import.meta.dirname, '../../fixtures/accounts');
const accounts = new Map(
  readdirSync(folder)
    .sort()
    .map((file) => [
      file.replace('.json', ''),
      parseExport(readFileSync(path.join(folder, file), 'utf8'), file),
    ]),
);

/** Values of variables in the files; what a property test puts in their place may stand elsewhere too. */
const values: ReadonlySet<string> = new Set([...accounts.values()].flatMap(variableValues));

function account(name: string): Account {
  const found = accounts.get(name);
  assert.ok(found !== undefined);
  return found;
}

/** Every value of the input is in exactly one list, and what is written is valid and holds no value of a variable. */
function checkPlan(given: Account, plan: ImportPlan): void {
  const paths = plan.entries.map((entry) => entry.path);
  assert.deepEqual(paths.toSorted(), [...leavesOf(given, [])].map(keyOf).toSorted());
  assert.equal(new Set(paths).size, paths.length);
  for (const { fate, note } of plan.entries) {
    assert.ok(['exact', 'changes', 'person'].includes(fate));
    assert.ok(note.length > 3);
  }
  const names = plan.endpoints.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  const files = plannedFiles(plan);
  for (const { path: file, content } of files) {
    if (file.endsWith('endpoint.json')) parseEndpointConfig(JSON.parse(content));
    else assert.deepEqual(Object.keys(parseMigrationFile(content).endpoints).toSorted(), names.toSorted());
  }
  const text = [importReport(plan), ...files.map(({ content }) => content)].join('\n');
  for (const secret of variableValues(given).filter((value) => values.has(value)))
    assert.ok(!text.includes(secret), `${secret} is in the output`);
}

/** Values that must not come out: long enough to be no accident, and no references. */
function variableValues(given: Account): string[] {
  return [...given.endpoints, ...given.templates].flatMap((item) => {
    const nested = fieldOf(item, 'template');
    return [fieldOf(item, 'env'), fieldOf(nested, 'env')].flatMap((env) =>
      typeof env === 'object' && env !== null
        ? Object.values(env).filter(
            (value): value is string =>
              typeof value === 'string' && value.length > 5 && !value.includes('RUNPOD_SECRET'),
          )
        : [],
    );
  });
}

function fieldOf(item: unknown, name: string): unknown {
  return typeof item === 'object' && item !== null ? Reflect.get(item, name) : undefined;
}

describe('exported accounts', () => {
  it('are at least twelve', () => assert.ok(accounts.size >= 12));

  it.each([...accounts])('%s: each value is mapped or needs a person', (_, given) => {
    checkPlan(given, planImport(given));
  });

  it('become what the reviewed lists say', async ({ expect }) => {
    const texts = [...accounts].map(([name, given]) => {
      const { endpoints, entries } = planImport(given);
      return [
        `# ${name}`,
        ...endpoints.map(({ document }) => JSON.stringify(document)),
        ...entries.map(({ fate, path: at, note }) => `${fate} ${at}: ${note}`),
      ].join('\n');
    });
    await expect(`${texts.join('\n\n')}\n`).toMatchFileSnapshot('__snapshots__/imported-accounts.txt');
  });
});

describe('the team with the 200 GB volume', () => {
  const plan = planImport(account('01-ryla-v1'));

  it('gets its two endpoints, with their ids, on cards with enough memory', () => {
    const [flux, turbo, ...others] = plan.endpoints;
    assert.deepEqual(others, []);
    assert.deepEqual([flux?.runpodId, turbo?.runpodId], ['jpcxjab2zpro19', 'xqs8k7yhabwh0k']);
    assert.deepEqual([flux?.name, turbo?.name], ['flux-schnell', 'z-image-turbo']);
    const config = parseEndpointConfig(flux?.document);
    assert.deepEqual(config.gpu, ['L4', 'L40S']);
    assert.deepEqual(config.scaling.minContainers, 0);
    assert.equal(config.timeouts.execution, 300);
    assert.equal(config.comfyui.version, '0.3.43');
    assert.deepEqual(config.providers.runpod.networkVolumes, ['vol9ryla01']);
    assert.equal(flux?.mountPath, '/workspace');
  });

  it('is told that its volume needs a pod, and which secrets to make', () => {
    const [volume] = plan.volumes;
    assert.deepEqual([volume?.sizeGb, volume?.hasS3], [200, false]);
    assert.deepEqual(volume?.endpoints, ['flux-schnell', 'z-image-turbo']);
    const report = importReport(plan);
    assert.match(report, /modal secret create ryla-flux-schnell-env HF_TOKEN="\$HF_TOKEN"/);
    assert.match(report, /ADMIN_PASSWORD/);
    assert.doesNotMatch(report, /hunter2/);
  });
});

describe('files', () => {
  it('keep what the migration file says already, and add the new endpoints at off', () => {
    const existing = JSON.stringify({
      endpoints: { old: { stage: 'live' }, 'flux-schnell': { stage: 'shadow' } },
    });
    const files = plannedFiles(planImport(account('02-ryla-v2')), existing);
    const file = parseMigrationFile(files.at(-1)?.content ?? '');
    assert.deepEqual(
      Object.entries(file.endpoints)
        .map(([name, { stage }]) => [name, stage])
        .toSorted(),
      [
        ['flux-schnell', 'shadow'],
        ['old', 'live'],
        ['z-image-turbo', 'off'],
      ],
    );
    assert.throws(
      () => plannedFiles({ endpoints: [] }, '{"stage": 1}'),
      (error) => MigrationError.isInstance(error),
    );
  });

  it('take names that are free', () => {
    const [first] = planImport(account('02-ryla-v2'), ['flux-schnell']).endpoints;
    assert.equal(first?.name, 'flux-schnell-2');
  });

  it('leave an endpoint that was imported before as it is, and say so', () => {
    const imported = new Map([['jpcxjab2zpro19', 'flux-schnell']]);
    const plan = planImport(account('02-ryla-v2'), ['flux-schnell'], imported);
    assert.deepEqual(
      plan.endpoints.map(({ name }) => name),
      ['z-image-turbo'],
    );
    assert.deepEqual(plan.volumes[0]?.endpoints, ['flux-schnell', 'z-image-turbo']);
    assert.match(importReport(plan), /\*\*flux-schnell\*\* is in the workspace already/);
    checkPlan(account('02-ryla-v2'), plan);
  });
});

describe('exports', () => {
  it('are told apart by their fields', () => {
    const list = JSON.stringify([
      { id: 'a', workersMax: 1 },
      { id: 'b', imageName: 'x' },
      { id: 'c', size: 10, dataCenterId: 'EU-RO-1' },
      { id: 'NVIDIA L4', pool: 'ADA_24', memory: 24 },
    ]);
    const read = parseExport(list, 'all.json');
    assert.deepEqual(
      [read.endpoints, read.templates, read.networkVolumes, read.gpus].map((each) => each.length),
      [1, 1, 1, 1],
    );
    assert.equal(mergeAccounts([read, read]).endpoints.length, 2);
  });

  it.each([
    ['{', /is not JSON/],
    ['7', /neither/],
    ['[{"color": "red"}]', /neither/],
    ['{"endpoints": [], "pods": []}', /pods beside endpoints/],
    ['{"endpoints": {}}', /no list/],
  ])('%s is refused', (text, expected) => {
    assert.throws(
      () => parseExport(text, 'x.json'),
      (error) => {
        assert.ok(MigrationError.isInstance(error));
        assert.equal(error.code, 'invalid_export');
        assert.match(error.message, expected);
        return true;
      },
    );
  });
});

describe('whatever an export holds', () => {
  const replacements = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom<unknown>('', null, 0, -1, 1e99, 'QUEUE', 'ADA_24', '__proto__', [], {}, 'vol9ryla01'),
  );
  /** One of the accounts with some values replaced, dropped or added. */
  const mutated = fc
    .tuple(
      fc.constantFrom(...accounts.values()),
      fc.array(fc.tuple(fc.nat(), fc.constantFrom('replace', 'drop', 'add'), replacements, fc.string()), {
        maxLength: 6,
      }),
    )
    .map(([given, changes]) => {
      // Replacing a whole collection would be refused by parseExport.
      const copy: Account = structuredClone(given);
      for (const [which, what, value, name] of changes)
        change(copy, which, what, structuredClone(value), name);
      return copy;
    });

  it('nothing is dropped in silence, and no value of a variable comes out', () => {
    fc.assert(
      fc.property(mutated, (given) => checkPlan(given, planImport(given))),
      { numRuns: 150 },
    );
  });
});

function change(given: Account, which: number, what: string, value: unknown, name: string): void {
  const places = [...leavesOf(given, [])].filter((place) => place.length > 2);
  const place = places[which % Math.max(1, places.length)];
  if (place === undefined) return;
  let parent: unknown = given;
  for (const step of place.slice(0, -1)) parent = fieldOf(parent, String(step));
  if (typeof parent !== 'object' || parent === null) return;
  const last = String(place.at(-1));
  if (what === 'drop' && !Array.isArray(parent)) Reflect.deleteProperty(parent, last);
  else if (what === 'add' && !Array.isArray(parent))
    Object.defineProperty(parent, name, { value, enumerable: true, configurable: true, writable: true });
  else Reflect.set(parent, last, value);
}
