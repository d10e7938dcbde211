import { describe, expect, it } from 'vitest';

import type { ApiWorkflow } from './api-workflow.ts';
import { diffWorkflows } from './workflow-diff.ts';

const before: ApiWorkflow = {
  '3': {
    class_type: 'KSampler',
    inputs: { steps: 20, model: ['4', 0], seed: 1 },
    _meta: { title: 'KSampler' },
  },
  '4': {
    class_type: 'CheckpointLoaderSimple',
    inputs: { ckpt_name: 'a' },
    _meta: { title: 'Load Checkpoint' },
  },
  '6': { class_type: 'CLIPTextEncode', inputs: { text: 'cat' }, _meta: { title: 'Positive' } },
};
const texts = (after: ApiWorkflow) => diffWorkflows(before, after).map(({ text }) => text);

describe('diffWorkflows', () => {
  it('says nothing about key order', () => {
    const reversed = Object.fromEntries(
      Object.entries(before).map(([id, node]) => [
        id,
        { ...node, inputs: Object.fromEntries(Object.entries(node.inputs).reverse()) },
      ]),
    );
    expect(diffWorkflows(before, reversed)).toEqual([]);
  });

  it('says in words what changed', () => {
    const after: ApiWorkflow = {
      '3': {
        class_type: 'KSampler',
        inputs: { steps: 30, model: ['9', 0], cfg: 7 },
        _meta: { title: 'Sampler' },
      },
      '4': { class_type: 'UNETLoader', inputs: { ckpt_name: 'a' }, _meta: { title: 'Load Checkpoint' } },
      '9': { class_type: 'LoraLoader', inputs: {} },
    };
    expect(texts(after)).toEqual([
      'LoraLoader (node 9) was added',
      '"Positive" (node 6, CLIPTextEncode) was removed',
      'KSampler (node 3) is now called "Sampler" (node 3, KSampler)',
      '"Sampler" (node 3, KSampler): model changed from output 0 of "Load Checkpoint" (node 4, CheckpointLoaderSimple) to output 0 of LoraLoader (node 9)',
      '"Sampler" (node 3, KSampler): seed is gone; it was 1',
      '"Sampler" (node 3, KSampler): steps changed from 20 to 30',
      '"Sampler" (node 3, KSampler): cfg is now 7',
      '"Load Checkpoint" (node 4, CheckpointLoaderSimple) was replaced by "Load Checkpoint" (node 4, UNETLoader)',
    ]);
  });

  it('knows a node by class and title under a new id, and its links with it', () => {
    const { '4': loader, '3': sampler, ...rest } = before;
    const after = {
      ...rest,
      '57:4': loader!,
      '3': { ...sampler!, inputs: { ...sampler!.inputs, model: ['57:4', 0] } },
    };
    expect(diffWorkflows(before, after)).toEqual([
      {
        kind: 'node_renumbered',
        nodeId: '57:4',
        input: undefined,
        text: '"Load Checkpoint" (node 4, CheckpointLoaderSimple) is now node 57:4',
      },
    ]);
  });
});
