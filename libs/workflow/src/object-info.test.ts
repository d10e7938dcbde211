import { describe, expect, it } from 'vitest';

import { coreObjectInfo } from './node/core-catalogue.ts';
import { findClass, inputsOf, parseObjectInfo } from './object-info.ts';
import { WorkflowError } from './workflow-error.ts';

describe('an object_info', () => {
  it("of core ComfyUI is built in, with inputs in the page's order", () => {
    const core = coreObjectInfo();
    expect(Object.keys(core)).toHaveLength(496);
    expect(coreObjectInfo()).toBe(core);
    const sampler = findClass(core, 'KSampler');
    expect(sampler && inputsOf(sampler).map(({ name, type }) => `${name} ${type}`)).toEqual([
      ...['model MODEL', 'seed INT', 'steps INT', 'cfg FLOAT', 'sampler_name COMBO', 'scheduler COMBO'],
      ...['positive CONDITIONING', 'negative CONDITIONING', 'latent_image LATENT', 'denoise FLOAT'],
    ]);
    expect(findClass(core, 'constructor')).toBeUndefined();
  });

  it.each([
    ['a list', [], 'An object_info is an object of classes by name, not a list.'],
    ['a class that is a text', { A: 'x' }, 'Class A must be an object, not a string.'],
    ['a class without inputs', { A: { output: [] } }, 'Class A has no object "input".'],
    ['a class without outputs', { A: { input: {} } }, 'Class A has no list "output".'],
    [
      'inputs in a list',
      { A: { input: { required: [] }, output: [] } },
      'Class A: "required" must be an object',
    ],
    [
      'an input without type',
      { A: { input: { optional: { x: [3] } }, output: [] } },
      'Class A, input x: its type',
    ],
    [
      'options in a text',
      { A: { input: { required: { x: ['INT', 'y'] } }, output: [] } },
      'its options must be',
    ],
    ['a hostile class', JSON.parse('{"__proto__": {}}'), '"__proto__" is not allowed'],
    [
      'a hostile input',
      JSON.parse('{"A": {"input": {"required": {"__proto__": []}}, "output": []}}'),
      'not allowed',
    ],
  ])('that is %s is refused', (_, value: unknown, message) => {
    const call = () => parseObjectInfo(value);
    expect(call).toThrow(WorkflowError);
    expect(call).toThrow(message);
  });
});
