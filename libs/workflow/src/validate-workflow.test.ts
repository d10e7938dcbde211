import { describe, expect, it } from 'vitest';

import type { ApiWorkflow } from './api-workflow.ts';
import type { Json } from './json-value.ts';
import { coreObjectInfo } from './node/core-catalogue.ts';
import { validateWorkflow } from './validate-workflow.ts';

const good: ApiWorkflow = {
  '1': { class_type: 'EmptyImage', inputs: { width: 64, height: 64, batch_size: 1, color: 0 } },
  '2': { class_type: 'ImageBlur', inputs: { image: ['1', 0], blur_radius: 3, sigma: 1 } },
  '3': { class_type: 'SaveImage', inputs: { images: ['2', 0], filename_prefix: 'x' } },
};
function problems(
  changes: Record<string, { class_type?: string; inputs?: Record<string, Json | undefined> }>,
) {
  const workflow: Record<string, ApiWorkflow[string]> = { ...good };
  for (const [id, { class_type, inputs }] of Object.entries(changes)) {
    const node = good[id] ?? { class_type: 'ImageInvert', inputs: {} };
    const entries = Object.entries({ ...node.inputs, ...inputs }).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value] as const],
    );
    workflow[id] = { class_type: class_type ?? node.class_type, inputs: Object.fromEntries(entries) };
  }
  return validateWorkflow(workflow, coreObjectInfo(), { files: 'unchecked' });
}

describe('validateWorkflow', () => {
  it('finds nothing wrong with a workflow that ComfyUI runs', () => {
    expect(validateWorkflow(good, coreObjectInfo())).toEqual([]);
  });

  it.each([
    [
      'an unknown class, even where nothing needs it',
      { '9': { class_type: 'Nothing' } },
      'unknown_class',
      '9',
      undefined,
    ],
    [
      'no output',
      { '3': { class_type: 'ImageInvert', inputs: {} } },
      'prompt_no_outputs',
      undefined,
      undefined,
    ],
    ['a missing input', { '2': { inputs: { image: undefined } } }, 'required_input_missing', '2', 'image'],
    ['a list that is no link', { '2': { inputs: { image: ['1'] } } }, 'bad_linked_input', '2', 'image'],
    [
      'an output that is not there',
      { '2': { inputs: { image: ['1', 7] } } },
      'bad_linked_input',
      '2',
      'image',
    ],
    [
      'a link of another type',
      { '2': { inputs: { sigma: ['1', 0] } } },
      'return_type_mismatch',
      '2',
      'sigma',
    ],
    ['a text for a number', { '1': { inputs: { width: 'wide' } } }, 'invalid_input_type', '1', 'width'],
    ['too small a number', { '1': { inputs: { width: 0 } } }, 'value_smaller_than_min', '1', 'width'],
    [
      'too large a number',
      { '2': { inputs: { blur_radius: 1e9 } } },
      'value_bigger_than_max',
      '2',
      'blur_radius',
    ],
  ])('finds %s', (_, changes, code, nodeId, input) => {
    expect(problems(changes)).toEqual([expect.objectContaining({ code, nodeId, input })]);
  });

  it('finds a circle and names its nodes', () => {
    expect(problems({ '1': { class_type: 'ImageInvert', inputs: { image: ['2', 0] } } })[0]).toMatchObject({
      code: 'dependency_cycle',
      message: 'Nodes depend on each other: 1 → 2.',
    });
  });

  it('checks values against their lists', () => {
    const scale = (upscale_method: string) => ({
      '2': {
        class_type: 'ImageScale',
        inputs: { image: ['1', 0], upscale_method, width: 8, height: 8, crop: 'disabled' },
      },
    });
    expect(problems(scale('lanczos'))).toEqual([]);
    expect(problems(scale('magic'))).toEqual([
      expect.objectContaining({ code: 'value_not_in_list', input: 'upscale_method' }),
    ]);
    expect(problems(scale('magic'))[0]?.message).toContain('"lanczos"');
  });

  it('checks files only against a server that lists them', () => {
    const vae = (files: 'listed' | 'unchecked') =>
      validateWorkflow(
        {
          '1': { class_type: 'VAELoader', inputs: { vae_name: 'any.safetensors' } },
          '2': { class_type: 'EmptyLatentImage', inputs: { width: 64, height: 64, batch_size: 1 } },
          '3': { class_type: 'VAEDecode', inputs: { samples: ['2', 0], vae: ['1', 0] } },
          '4': { class_type: 'SaveImage', inputs: { images: ['3', 0], filename_prefix: 'x' } },
        },
        coreObjectInfo(),
        { files },
      );
    expect(vae('unchecked')).toEqual([]);
    expect(vae('listed')).toEqual([
      expect.objectContaining({ code: 'value_not_in_list', input: 'vae_name' }),
    ]);
  });

  it('does not look at the inputs of nodes that no output needs', () => {
    expect(problems({ '9': { class_type: 'ImageInvert' } })).toEqual([]);
  });

  it('accepts numbers in texts, as Python does', () => {
    expect(problems({ '1': { inputs: { width: '64', batch_size: true } } })).toEqual([]);
  });
});
