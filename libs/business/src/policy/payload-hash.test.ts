import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { canonicalJson, payloadHash } from './payload-hash.ts';

function shuffled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shuffled);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, member]: [string, unknown]) => [key, shuffled(member)]),
  );
}

describe('the payload hash', () => {
  it('does not depend on the order of keys, and on everything else', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.dictionary(fc.string(), fc.jsonValue()),
        (a, b) => {
          expect(payloadHash({ workflow: shuffled(a) })).toBe(payloadHash({ workflow: a }));
          const same = canonicalJson(a) === canonicalJson(b);
          expect(payloadHash({ workflow: a }) === payloadHash({ workflow: b })).toBe(same);
          expect(JSON.parse(canonicalJson(a))).toEqual(JSON.parse(JSON.stringify(a)));
        },
      ),
    );
  });

  it('knows files by name and content, in any order', () => {
    const files = [
      { name: 'a.png', content: 'aa' },
      { name: 'b.png', content: 'bb' },
    ];
    const hash = payloadHash({ workflow: {}, files });
    expect(payloadHash({ workflow: {}, files: files.toReversed() })).toBe(hash);
    expect(payloadHash({ workflow: {}, files: [{ name: 'a.png', content: 'bb' }] })).not.toBe(hash);
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
  });

  it('is the same in every release', () => {
    const workflow = { '1': { class_type: 'EmptyImage', inputs: { width: 8, ratio: 0.1 } } };
    expect(payloadHash({ workflow, inputs: { seed: 1 } })).toBe(
      payloadHash({ inputs: { seed: 1 }, workflow: shuffled(workflow) }),
    );
    // The example of RFC 8785, section 3.2.2.
    const example = { numbers: [333333333.33333329, 1e30, 4.5, 2e-3, 1e-27], literals: [null, true, false] };
    expect(canonicalJson(example)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27]}',
    );
  });

  it.each([NaN, Infinity, 1n, () => 1, new Date(0), new Map()])(
    'refuses what JSON does not have: %s',
    (value) => {
      expect(() => payloadHash({ workflow: { value } })).toThrow(
        expect.objectContaining({ code: 'invalid_input' }),
      );
    },
  );
});
