/** Converts workflows of which the official frontend 1.58.1 made the recorded results, and compares. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { brotliDecompressSync } from 'node:zlib';

import { describe, expect, it } from 'vitest';

import { readTemplate, type TemplatePackage } from '../../test-support/template-packages.ts';
import type { ApiWorkflow } from '../api-workflow.ts';
import { coreObjectInfo } from '../node/core-catalogue.ts';
import { toApiWorkflow } from './ui-to-api.ts';

interface Pair {
  readonly package: TemplatePackage;
  readonly template: string;
  readonly api: ApiWorkflow;
}

const file = path.join(import.meta.dirname, '../../fixtures/ui-to-api.json.br');
const pairs = JSON.parse(brotliDecompressSync(readFileSync(file)).toString('utf8')) as Record<string, Pair>;

describe('UI to API, beside the official frontend', () => {
  it('gives the same classes, inputs and _meta for all 138 recorded workflows', () => {
    const table = { equal: 0, different: 0, skipped: 0, metaDifferent: 0, ms: 0 };
    const differences: string[] = [];
    for (const [name, pair] of Object.entries(pairs)) {
      const workflow = readTemplate(pair.package, pair.template);
      if (workflow === undefined) {
        table.skipped += 1;
        differences.push(`${name}: skipped, ${pair.package} is not installed`);
        continue;
      }
      const started = performance.now();
      const converted = toApiWorkflow(workflow, coreObjectInfo());
      table.ms += performance.now() - started;
      const found = differencesOf(converted, pair.api);
      if (found.length === 0) table.equal += 1;
      else table.different += 1;
      differences.push(...found.map((difference) => `${name}: ${difference}`));
      for (const [id, node] of Object.entries(pair.api)) {
        if (!isDeepStrictEqual(converted[id]?._meta, node._meta)) table.metaDifferent += 1;
      }
    }
    table.ms = Math.round(table.ms);
    console.table(table);
    expect(differences).toEqual([]);
    expect(table).toMatchObject({ equal: 138, different: 0, skipped: 0, metaDifferent: 0 });
  });
});

function differencesOf(converted: ApiWorkflow, recorded: ApiWorkflow): string[] {
  return [...new Set([...Object.keys(recorded), ...Object.keys(converted)])].flatMap((id) => {
    const [is, should] = [converted[id], recorded[id]];
    if (is === undefined || should === undefined)
      return [`node ${id} is ${is === undefined ? 'missing' : 'too many'}`];
    if (is.class_type !== should.class_type)
      return [`node ${id} is ${is.class_type} instead of ${should.class_type}`];
    return isDeepStrictEqual(is.inputs, should.inputs)
      ? []
      : [`node ${id} has ${JSON.stringify(is.inputs)} instead of ${JSON.stringify(should.inputs)}`];
  });
}
