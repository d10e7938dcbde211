import { describe, expect, it } from 'vitest';

import { parseStartOptions } from './start-options.ts';

const endpoints = ['flux-schnell', 'photo-finish'];

describe('parseStartOptions', () => {
  it('runs photo-finish on every backend by default', () => {
    const options = parseStartOptions([], endpoints);
    expect(options).toMatchObject({
      endpoint: 'photo-finish',
      backends: ['modal', 'runpod'],
      keep: false,
      json: false,
    });
  });

  it('collects inputs, keeping further equals signs', () => {
    const options = parseStartOptions(['--input', 'prompt=a=b', '-i', 'seed=7'], endpoints);
    expect(options.inputs).toEqual({ prompt: 'a=b', seed: '7' });
  });

  it('takes several backends once each, in the order given', () => {
    const options = parseStartOptions(['-b', 'runpod', '-b', 'modal', '-b', 'runpod'], endpoints);
    expect(options.backends).toEqual(['runpod', 'modal']);
  });
});
