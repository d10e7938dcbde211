import { GPUS } from '@ryla/workflow';
import { describe, expect, it } from 'vitest';

import { desire, image } from './desired-endpoint.fixture.ts';
import { secretReference } from './environment-variables.ts';
import { GPU_POOLS, poolsFor } from './gpu-pools.ts';

describe('an endpoint.json', () => {
  it('becomes an endpoint with its scaling, timeouts and cards', () => {
    const desired = desire('flux', {
      config: {
        gpu: ['L40S', 'A100-80GB'],
        scaling: { minContainers: 1, maxContainers: 4, scaledownWindow: 90 },
        timeouts: { execution: 300 },
      },
    });
    expect(desired).toMatchObject({
      name: 'ryla-flux',
      gpu: { pools: ['ADA_48_PRO', 'AMPERE_80'], count: 1, excludedTypes: [] },
      workers: { min: 1, max: 4, idleTimeout: 90 },
      timeoutMs: 300_000,
      notes: [],
    });
  });

  it('refers to secrets by name, never by value', () => {
    const { env } = desire('flux', { settings: { env: { HF_TOKEN: { secret: 'hf' }, MODE: 'fast' } } });
    expect(env).toEqual({ HF_TOKEN: '{{ RUNPOD_SECRET_hf }}', MODE: 'fast' });
    expect(secretReference('hf')).toBe(env['HF_TOKEN']);
  });

  it.each(['HF_TOKEN', 'AWS_SECRET_ACCESS_KEY', 'API_KEY', 'password', 'MY_CREDENTIALS'])(
    'with %s as plain text is refused, without repeating it',
    (name) => {
      const call = (): unknown => desire('flux', { settings: { env: { [name]: 'hunter2' } } });
      expect(call).toThrow(/looks like a secret/);
      expect(call).not.toThrow(/hunter2/);
    },
  );

  it.each([
    [{ env: { RYLA_MANAGED_BY: 'me' } }, /providers\.runpod\.env\.RYLA_MANAGED_BY: is set by the deployment/],
    [{ env: { 'NOT A NAME': 'x' } }, /env\.NOT A NAME/],
    [{ bogus: 1 }, /bogus/],
    [{ scaling: { type: 'QUEUE_DELAY', queueDelay: 0.1 } }, /scaling\.queueDelay/],
    [{ endpointId: '../x' }, /endpointId: an id/],
  ])('with settings %j says what is wrong where', (settings, message) => {
    expect(() => desire('flux', { settings: settings as object })).toThrow(message);
  });

  it.each([
    'ryla:latest',
    'ryla',
    'ryla@sha256:abc',
    `ryla:1@sha256:${'a'.repeat(63)}`,
    `ryla@sha256:${'A'.repeat(64)}`,
  ])('with the image %s is refused: it is not a digest', (name) => {
    expect(() => desire('flux', { image: name })).toThrow(/by its digest/);
  });

  it('takes an image with a tag and a digest', () => {
    const pinned = image('c').replace('@', ':5000@');
    expect(desire('flux', { image: pinned }).image).toBe(pinned);
  });

  it('says what RunPod has no counterpart for', () => {
    const { notes, workers } = desire('flux', {
      config: { scaling: { bufferContainers: 2 }, gpu: ['A10G'] },
      settings: { scaling: { type: 'REQUEST_COUNT', requestCount: 2 } },
    });
    expect(notes.join('\n')).toMatch(/A10G is not among.*\n.*bufferContainers.*\n.*scaledownWindow/s);
    expect(workers).toEqual({ min: 0, max: 1 });
  });
});

describe('the table of pools', () => {
  it('has a pool for every card of Modal, a date and a source', () => {
    expect(Object.keys(GPU_POOLS.modal).sort()).toEqual([...GPUS].sort());
    for (const card of GPUS) expect(poolsFor([card]).pools).toHaveLength(1);
    expect(GPU_POOLS.date).toMatch(/^\d{4}-\d\d-\d\d$/);
    expect(GPU_POOLS.source).toContain('docs.runpod.io');
  });

  it('names a pool once, and refuses cards in different numbers', () => {
    expect(poolsFor(['A100:2', 'A100-40GB:2'])).toMatchObject({ pools: ['AMPERE_80'], count: 2 });
    expect(() => poolsFor(['H100:2', 'H200'])).toThrow(/same number of cards/);
    expect(() => poolsFor(['RTX-4090'])).toThrow(/no GPU pool for RTX-4090.*ADA_24/s);
  });
});
