import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { intendedJob } from './job-transition.ts';
import { recordSchema } from './record-codec.ts';
import { isRecord } from './record-guard.ts';

const whole = {
  ...intendedJob(
    {
      id: '9f3c1c6e-0000-4000-8000-000000000000',
      endpoint: 'flux',
      backend: 'modal',
      payloadHash: 'h',
      gpu: 'L4',
    },
    1,
  ),
  providerRef: { id: 'r' },
  metrics: {
    queueMs: 1,
    bootMs: 0,
    modelLoadMs: 2,
    samplingMs: 3,
    encodeMs: null,
    uploadMs: 4,
    gpu: 'NVIDIA L4',
    peakMemoryBytes: 5,
  },
  cost: { usd: 1, estimated: false, gpu: null, pricesOf: '2026-11-24' },
  error: { code: 'timed_out', message: 'm', nodeId: null, classType: null, hint: 'h', retryable: false },
  outputs: [
    {
      nodeId: '2',
      name: 'a',
      kind: 'image',
      contentType: 'image/png',
      size: 1,
      sha256: null,
      source: { a: [1] },
    },
  ],
  warnings: ['w'],
  tags: ['t'],
};

/** All places of a value, as lists of keys. */
function places(value: unknown, at: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [[...at]];
  return [[...at], ...Object.entries(value).flatMap(([key, member]) => places(member, [...at, key]))];
}

/** The value with another, or nothing, in a place. */
function replaced(value: unknown, [key, ...rest]: readonly string[], by: unknown): unknown {
  if (key === undefined) return by;
  const copy: Record<string, unknown> | unknown[] = Array.isArray(value)
    ? [...(value as unknown[])]
    : { ...(Object(value) as object) };
  const inner: unknown = Reflect.get(copy, key);
  const made = replaced(inner, rest, by);
  if (made === undefined && !Array.isArray(copy)) Reflect.deleteProperty(copy, key);
  else Reflect.set(copy, key, made);
  return copy;
}

describe('the guard of records', () => {
  it('takes what the schema takes and refuses what it refuses, whatever is wrong and wherever', () => {
    expect(isRecord(whole)).toBe(true);
    const wrong = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom<unknown>(
        undefined,
        null,
        'image',
        'queued',
        'intended',
        0,
        -1.5,
        true,
        [],
        {},
        [null],
        { a: 1 },
      ),
    );
    fc.assert(
      fc.property(fc.constantFrom(...places(whole)), wrong, (place, by) => {
        const changed: unknown = JSON.parse(JSON.stringify(replaced(whole, place, by) ?? null));
        expect(isRecord(changed)).toBe(recordSchema.safeParse(changed).success);
      }),
      { numRuns: 2_000 },
    );
  });

  it('takes records of older and of newer releases', () => {
    const { gpu, ...older } = whole;
    expect(gpu).toBe('L4');
    expect(isRecord(older)).toBe(true);
    expect(isRecord({ ...whole, region: 'eu', timings: { ...whole.timings, coolDownMs: 1 } })).toBe(true);
  });
});
