import { describe, expect, it } from 'vitest';

import { parseEndpointConfig } from './endpoint-config.ts';

describe('providers.runpod', () => {
  const withRunpod = (runpod: object): unknown => ({
    name: 'poster',
    title: 'Poster',
    providers: { runpod },
  });

  it('takes what only RunPod has', () => {
    const runpod = {
      name: 'poster-eu',
      gpuPools: ['ADA_24'],
      scaling: { type: 'REQUEST_COUNT', requestCount: 2 },
      networkVolumes: ['models'],
      env: { LOG_LEVEL: 'debug', HF_TOKEN: { secret: 'hf' }, RYLA_CLAIMS_DIR: '/runpod-volume/claims' },
    };
    expect(parseEndpointConfig(withRunpod(runpod)).providers.runpod).toEqual(runpod);
    expect(parseEndpointConfig({ name: 'poster', title: 'Poster' }).providers.runpod).toEqual({});
  });

  it.each([
    [
      'a secret in plain text',
      { env: { HF_TOKEN: 'hf_abcdef' } },
      'providers.runpod.env.HF_TOKEN: looks like a secret',
    ],
    [
      'what a deployment sets itself',
      { env: { RYLA_COMMIT: '1' } },
      'RYLA_COMMIT: is set by the deployment itself',
    ],
    ['a name that is no variable', { env: { 'a-b': '1' } }, 'a name of a variable'],
    ['a misspelt field', { gpuPool: ['ADA_24'] }, 'gpuPool'],
  ])('refuses %s', (_case, runpod, says) => {
    expect(() => parseEndpointConfig(withRunpod(runpod))).toThrow(says);
  });

  it('never repeats the value of a secret', () => {
    expect(() => parseEndpointConfig(withRunpod({ env: { API_KEY: 'very-secret' } }))).not.toThrow(
      'very-secret',
    );
  });
});

describe('smoke', () => {
  it('is a small job, or absent', () => {
    const smoke = { inputs: { width: 64, image: 'small.png' }, timeout: 300 };
    expect(parseEndpointConfig({ name: 'poster', title: 'Poster', smoke }).smoke).toEqual(smoke);
    expect(parseEndpointConfig({ name: 'poster', title: 'Poster' }).smoke).toBeUndefined();
    expect(() => parseEndpointConfig({ name: 'poster', title: 'Poster', smoke: { timeout: 0 } })).toThrow(
      'smoke.timeout',
    );
  });
});
