/** Small workflows in API format, as the tests of inference think of them. */
import { inferInputs } from '../src/inference/infer-inputs.ts';
import type { ApiWorkflow } from '../src/api-workflow.ts';
import type { Json } from '../src/json-value.ts';
import { coreObjectInfo } from '../src/node/core-catalogue.ts';

export const core = coreObjectInfo();

export type Inputs = Record<string, Json>;
export type Nodes = Record<string, readonly [className: string, inputs: Inputs, title?: string | undefined]>;

export function api(nodes: Nodes): ApiWorkflow {
  return Object.fromEntries(
    Object.entries(nodes).map(([id, [class_type, inputs, title]]) => [
      id,
      { class_type, inputs, ...(title === undefined ? {} : { _meta: { title } }) },
    ]),
  );
}

/** Text to image with one sampler. */
export function sampling(more: Nodes = {}, sampler: Inputs = {}): ApiWorkflow {
  return api({
    1: ['CheckpointLoaderSimple', { ckpt_name: 'base.safetensors' }],
    2: ['CLIPTextEncode', { text: 'a cat', clip: ['1', 1] }],
    3: ['CLIPTextEncode', { text: 'blurry', clip: ['1', 1] }],
    4: ['EmptyLatentImage', { width: 512, height: 768, batch_size: 1 }],
    5: [
      'KSampler',
      {
        ...{ seed: 7, steps: 20, cfg: 7, sampler_name: 'euler', scheduler: 'normal', denoise: 1 },
        ...{ model: ['1', 0], positive: ['2', 0], negative: ['3', 0], latent_image: ['4', 0] },
        ...sampler,
      },
    ],
    6: ['VAEDecode', { samples: ['5', 0], vae: ['1', 2] }],
    7: ['SaveImage', { images: ['6', 0], filename_prefix: 'x' }],
    ...more,
  });
}

export function inputsOf(workflow: ApiWorkflow, objectInfo = core) {
  return Object.fromEntries(inferInputs(workflow, objectInfo).map(({ name, input }) => [name, input]));
}

export function places(workflow: ApiWorkflow, objectInfo = core): Record<string, string> {
  return Object.fromEntries(
    inferInputs(workflow, objectInfo).map(({ name, input }) => [name, `${input.node}.${input.field}`]),
  );
}
