import { describe, expect, it } from 'vitest';

import { runpodAccount } from './runpod-account.ts';

describe('a RunPod account', () => {
  it('is a real one only with a key, and never a stand-in', () => {
    expect(runpodAccount('cloud', 'staging', { RUNPOD_API_KEY: 'k' })).toMatchObject({
      apiKey: 'k',
      apiUrl: 'https://api.runpod.ai/v2',
      managementUrl: 'https://api.runpod.io/v2',
      environment: 'staging',
    });
    expect(() => runpodAccount('cloud', undefined, {})).toThrow('RUNPOD_API_KEY');
    const url = 'http://127.0.0.1:1/v2';
    expect(() => runpodAccount('cloud', 'main', { RUNPOD_API_KEY: 'k', RUNPOD_MANAGEMENT_URL: url })).toThrow(
      'Unset RUNPOD_MANAGEMENT_URL',
    );
    expect(() => runpodAccount('local', 'main', { RUNPOD_API_KEY: 'k' }, '/nowhere')).toThrow(
      'npm run clouds',
    );
  });
});
