import { readFileSync } from 'node:fs';
import path from 'node:path';

import { expect, it } from 'vitest';

import { ComfyUIServiceError, ERROR_CODES } from './errors.ts';

it('every code is documented, and no other', () => {
  const text = readFileSync(path.join(import.meta.dirname, '../../../docs/errors.md'), 'utf8');
  const documented = [...text.matchAll(/^\| `(\w+)`/gm)].map(([, code]) => code);
  expect(documented.toSorted()).toEqual([...ERROR_CODES].sort());
});

it('an error is recognised across copies of the package, and keeps what is known of it', () => {
  const error = new ComfyUIServiceError('timed_out', 'late', { jobId: 'a' }).within({
    jobId: 'b',
    backend: 'c',
  });
  expect(ComfyUIServiceError.isInstance(error)).toBe(true);
  expect(error).toMatchObject({ code: 'timed_out', jobId: 'a', backend: 'c', retryable: false });
  expect(ComfyUIServiceError.isInstance(new Error('timed_out'))).toBe(false);
});
