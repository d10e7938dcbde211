import { expect, it } from 'vitest';

import { parseApiWorkflow } from '../api-workflow.ts';
import { coreObjectInfo } from '../node/core-catalogue.ts';
import { determinismOf } from './determinism.ts';

const core = coreObjectInfo();

function sampled(sampler: unknown) {
  const workflow = parseApiWorkflow({
    '1': { class_type: 'PrimitiveString', inputs: { value: 'euler' } },
    '3': { class_type: 'KSampler', inputs: { seed: 1, sampler_name: sampler } },
  });
  return determinismOf(workflow, core, core);
}

it.each([
  ['euler', 'cpu-noise'],
  ['euler_ancestral', 'device-noise'],
  ['a custom one', 'unknown'],
])('the sampler %s makes a workflow %s', (sampler, expected) => {
  expect(sampled(sampler)).toMatchObject({ class: expected, nodes: ['3'] });
});

it('a sampler that another node chooses is not known, and never exact', () => {
  expect(sampled(['1', 0])).toMatchObject({ class: 'unknown', nodes: ['3'] });
});
