import { describe, expect, it } from 'vitest';

import type { ApiWorkflow } from './api-workflow.ts';
import { printWorkflow, workflowHash } from './canonical-workflow.ts';

const workflow: ApiWorkflow = {
  '57:10': {
    class_type: 'B',
    inputs: { y: { b: 1, a: [1, { d: 2, c: 3 }] }, x: ['9', 0] },
    _meta: { title: 'Bee' },
  },
  '9': { class_type: 'A', inputs: {} },
  '57:9': { inputs: { seed: 5 }, class_type: 'A' },
  '57': { class_type: 'A', inputs: {} },
  other: { class_type: 'A', inputs: {} },
};

describe('the canonical form', () => {
  it('orders nodes by the numbers of their ids, and keys by name', () => {
    const text = printWorkflow(workflow);
    // Keys that are whole numbers come first in JavaScript, ascending, whatever the order of insertion.
    expect(Object.keys(JSON.parse(text) as object)).toEqual(['9', '57', '57:9', '57:10', 'other']);
    expect(text).toContain('"x": [');
    expect(text.indexOf('"x"')).toBeLessThan(text.indexOf('"y"'));
    expect(text.indexOf('"c"')).toBeLessThan(text.indexOf('"d"'));
    expect(text.endsWith('}\n')).toBe(true);
  });

  it('hashes what a workflow does, not how it is written or titled', async () => {
    const hash = await workflowHash(workflow);
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    const reversed = Object.fromEntries(
      Object.entries(workflow)
        .reverse()
        .map(([id, { class_type, inputs }]) => [
          id,
          {
            inputs: Object.fromEntries(Object.entries(inputs).reverse()),
            class_type,
            _meta: { title: 'Other' },
          },
        ]),
    );
    expect(await workflowHash(reversed)).toBe(hash);
    expect(await workflowHash({ ...workflow, '57:9': { class_type: 'A', inputs: { seed: 6 } } })).not.toBe(
      hash,
    );
  });

  it('has the same hash on every machine and in every version', async () => {
    expect(
      await workflowHash({ '1': { class_type: 'EmptyImage', inputs: { width: 64, height: 64 } } }),
    ).toMatchInlineSnapshot(`"5da7be379d6a58f09916e0ce2f01f06f110f18d1e2fd17e5e39d8e03ae292504"`);
  });
});
