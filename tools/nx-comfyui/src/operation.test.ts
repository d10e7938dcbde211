import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { onlyOnModal, readOperation } from './operation.ts';

describe('an operation', () => {
  it('is chosen as `ryla deploy` chooses, and leaves other options to the program behind it', () => {
    const folder = 'apps/endpoints/photo-finish';
    const { directory, ...rest } = readOperation([
      folder,
      '--tail',
      '5',
      '--provider=runpod',
      '--environment',
      'staging',
      '--target',
      'cloud',
      '--follow',
    ]);
    expect(rest).toEqual({
      endpoint: 'photo-finish',
      target: 'cloud',
      provider: 'runpod',
      environment: 'staging',
      rest: ['--tail', '5', '--follow'],
    });
    expect(directory.endsWith(path.normalize(folder))).toBe(true);
    expect(readOperation([folder])).toMatchObject({ target: 'local', provider: undefined, rest: [] });
  });

  it('refuses clouds that there are not, and options without a value', () => {
    expect(() => readOperation(['x', '--provider', 'aws'])).toThrow('modal or runpod, not "aws"');
    expect(() => readOperation(['x', '--target', 'prod'])).toThrow('"prod"');
    expect(() => readOperation(['x', '--environment'])).toThrow('--environment needs a value');
    expect(() => onlyOnModal(readOperation(['x', '--provider', 'runpod']), 'edit')).toThrow('Modal only');
  });
});
