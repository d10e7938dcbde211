import { describe, expect, it } from 'vitest';

import type { ApiWorkflow } from '../api-workflow.ts';
import type { Json } from '../json-value.ts';
import { coreObjectInfo } from '../node/core-catalogue.ts';
import { brokenInputs, inferInputs } from './infer-inputs.ts';

const core = coreObjectInfo();

function sampling(values: Record<string, Json>): ApiWorkflow {
  return {
    1: { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: 'base.safetensors' } },
    2: { class_type: 'CLIPTextEncode', inputs: { text: 'a cat', clip: ['1', 1] } },
    3: { class_type: 'EmptyLatentImage', inputs: { width: 512, height: 512, batch_size: 1 } },
    4: {
      class_type: 'KSampler',
      inputs: {
        ...{ seed: 7, steps: 20, cfg: 7, sampler_name: 'euler', scheduler: 'normal', denoise: 1 },
        ...{ model: ['1', 0], positive: ['2', 0], negative: ['2', 0], latent_image: ['3', 0] },
        ...values,
      },
    },
    5: { class_type: 'VAEDecode', inputs: { samples: ['4', 0], vae: ['1', 2] } },
    6: { class_type: 'SaveImage', inputs: { images: ['5', 0], filename_prefix: 'x' } },
  };
}

function found(workflow: ApiWorkflow): string[] {
  return inferInputs(workflow, core)
    .filter(({ input }) => input.node === '4')
    .map(({ name }) => name);
}

describe('values that are not what their class declares', () => {
  it('are none in a sound workflow, whatever the names of its files', () => {
    expect(brokenInputs(sampling({ steps: 10_000, sampler_name: 'of_a_custom_node' }), core)).toEqual([]);
    expect(found(sampling({}))).toEqual(['seed', 'steps', 'cfg']);
  });

  it.each([
    ['a text for a number', { steps: 'flow', cfg: 30 }, 'no INT from 1 to 10000', ['seed']],
    ['a number out of range', { steps: 146_344_522 }, 'no INT from 1 to 10000', ['seed']],
    ['the control of a seed', { sampler_name: 'randomize' }, 'none of its choices', ['seed', 'steps', 'cfg']],
    ['a number for a choice', { sampler_name: 242_339_647 }, 'none of its choices', ['seed', 'steps', 'cfg']],
  ])('are no inputs, nor is what comes after them, and each has a reason: %s', (_, values, words, left) => {
    const workflow = sampling(values);
    const [first, ...rest] = brokenInputs(workflow, core);
    expect(first?.why).toContain(words);
    for (const { field, why } of rest) expect(why).toContain(`and so ${field}, may be in the wrong place`);
    expect(rest.at(-1)?.field).toBe('denoise');
    expect(found(workflow)).toEqual(left);
  });

  it('are not looked for in nodes that no output depends on', () => {
    const workflow = {
      ...sampling({}),
      9: { class_type: 'EmptyLatentImage', inputs: { width: 'wide', height: 1, batch_size: 1 } },
    };
    expect(brokenInputs(workflow, core)).toEqual([]);
  });
});
