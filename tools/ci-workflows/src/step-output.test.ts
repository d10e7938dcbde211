import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';

import { addSummary, setOutput } from './step-output.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'step-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it('an output and a summary are appended to the files of the step', () => {
  const GITHUB_OUTPUT = path.join(folder, 'output');
  const GITHUB_STEP_SUMMARY = path.join(folder, 'summary');
  setOutput('base', 'none', { GITHUB_OUTPUT });
  setOutput('images', '[]', { GITHUB_OUTPUT });
  addSummary('### Plan', { GITHUB_STEP_SUMMARY });
  expect(readFileSync(GITHUB_OUTPUT, 'utf8')).toBe('base=none\nimages=[]\n');
  expect(readFileSync(GITHUB_STEP_SUMMARY, 'utf8')).toBe('### Plan\n');
});

it('an output cannot set another one', () => {
  expect(() => setOutput('base', 'none\nimages=[]', { GITHUB_OUTPUT: path.join(folder, 'output') })).toThrow(
    /one line/,
  );
});
