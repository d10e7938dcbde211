import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { codeOfWorker } from './worker-codes.ts';

const workspace = path.join(import.meta.dirname, '../../../..');

/** What ends a job on a worker: classes of errors, and errors that are written as documents. */
const SOURCES = [
  'libs/worker/src/comfy_worker/**/*.py',
  'apps/runpod/src/**/*.py',
  'apps/modal/src/ryla_modal/job_*.py',
];

function codesOf(file: string): string[] {
  const text = readFileSync(path.join(workspace, file), 'utf8');
  return [...text.matchAll(/^ {4}code = "([a-z_]+)"$|"code": "([a-z_]+)"/gm)].map(
    ([, ofClass, ofDocument]) => ofClass ?? ofDocument ?? '',
  );
}

describe("the workers' codes", () => {
  const files = SOURCES.flatMap((pattern) => globSync(pattern, { cwd: workspace }));
  const codes = [...new Set(files.flatMap(codesOf))].sort();

  it('are found in their sources', () => {
    expect(codes.length).toBeGreaterThan(10);
    expect(codes).toEqual(
      expect.arrayContaining(['already_claimed', 'missing_models', 'payload_too_large', 'worker_lost']),
    );
  });

  it.each(codes)('%s has a name here', (code) => {
    expect(codeOfWorker(code)).toBeDefined();
  });
});
