import { describe, expect, it } from 'vitest';

import { catalogue, nodeClass } from '../../test-support/ui-graph.ts';
import type { ApiWorkflow } from '../api-workflow.ts';
import type { Json } from '../json-value.ts';
import { coreObjectInfo } from '../node/core-catalogue.ts';
import { inferInputs } from './infer-inputs.ts';
import { inferOutputs } from './infer-outputs.ts';

const core = coreObjectInfo();

type Inputs = Record<string, Json>;
type Nodes = Record<string, readonly [className: string, inputs: Inputs, title?: string | undefined]>;

function api(nodes: Nodes): ApiWorkflow {
  return Object.fromEntries(
    Object.entries(nodes).map(([id, [class_type, inputs, title]]) => [
      id,
      { class_type, inputs, ...(title === undefined ? {} : { _meta: { title } }) },
    ]),
  );
}

/** Text to image with one sampler. */
function sampling(more: Nodes = {}, sampler: Inputs = {}): ApiWorkflow {
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

function inputsOf(workflow: ApiWorkflow, objectInfo = core) {
  return Object.fromEntries(inferInputs(workflow, objectInfo).map(({ name, input }) => [name, input]));
}

function places(workflow: ApiWorkflow, objectInfo = core): Record<string, string> {
  return Object.fromEntries(
    inferInputs(workflow, objectInfo).map(({ name, input }) => [name, `${input.node}.${input.field}`]),
  );
}

describe('inferred inputs', () => {
  it('are named by role and typed by the object_info, each with a reason', () => {
    const inferred = inferInputs(sampling(), core);
    expect(inferred.map(({ name }) => name)).toEqual([
      ...['prompt', 'negativePrompt', 'width', 'height', 'batchSize', 'seed', 'steps', 'cfg'],
    ]);
    expect(inputsOf(sampling())).toMatchObject({
      prompt: { type: 'text', node: '2', field: 'text', default: 'a cat' },
      negativePrompt: { type: 'text', node: '3', field: 'text', default: 'blurry' },
      width: { type: 'integer', minimum: 16, maximum: 4096, default: 512 },
      batchSize: { type: 'integer', minimum: 1, maximum: 16, default: 1 },
      seed: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 7 },
      steps: { type: 'integer', minimum: 1, maximum: 100, default: 20 },
      cfg: { type: 'number', minimum: 0, maximum: 100, default: 7 },
    });
    for (const { name, why } of inferred) expect(why, name).toMatch(/^[A-Z].*\.$/);
    expect(inferred.find(({ name }) => name === 'negativePrompt')?.why).toContain(
      'negative side of node 5 (KSampler)',
    );
  });

  it('follow the links, not the order: roles swap with them', () => {
    const swapped = sampling({}, { positive: ['3', 0], negative: ['2', 0] });
    expect(places(swapped)).toMatchObject({ prompt: '3.text', negativePrompt: '2.text' });
  });

  it('leave out what has no effect: a negative prompt and cfg at 1, dead nodes', () => {
    const found = places(sampling({ 9: ['LoadImage', { image: 'unused.png' }] }, { cfg: 1 }));
    expect(Object.keys(found)).toEqual(['prompt', 'width', 'height', 'batchSize', 'seed', 'steps']);
  });

  it('keep a default that the ranges would not allow', () => {
    const { steps } = inputsOf(sampling({}, { steps: 250 }));
    expect(steps).toMatchObject({ default: 250, maximum: 250 });
  });

  it('are set where the value is kept', () => {
    const workflow = sampling(
      {
        10: ['PrimitiveInt', { value: 12 }, 'Steps'],
        11: ['PrimitiveStringMultiline', { value: 'a dog' }, 'What'],
        2: ['CLIPTextEncode', { text: ['11', 0], clip: ['1', 1] }],
      },
      { steps: ['10', 0] },
    );
    expect(places(workflow)).toMatchObject({ prompt: '11.value', steps: '10.value' });
  });

  it('are one where several places need the same', () => {
    const encode = { clip: ['1', 1], clip_l: 'a cat', t5xxl: 'a cat', guidance: 3.5 };
    const { prompt } = inputsOf(sampling({ 2: ['CLIPTextEncodeFlux', encode] }));
    expect(prompt).toMatchObject({ node: '2', field: 'clip_l', also: [{ node: '2', field: 't5xxl' }] });
  });

  it('of one encoder that differ are told apart by their fields', () => {
    const encode = { clip: ['1', 1], clip_l: 'cat', t5xxl: 'a cat on a mat', guidance: 3.5 };
    expect(places(sampling({ 2: ['CLIPTextEncodeFlux', encode] }))).toMatchObject({
      prompt: '2.clip_l',
      promptT5xxl: '2.t5xxl',
      guidance: '2.guidance',
    });
  });

  it('of sizes are found behind a link too', () => {
    const workflow = sampling({
      4: ['EmptyLatentImage', { width: ['10', 0], height: ['10', 1], batch_size: 1 }],
      10: ['GetImageSize', { image: ['11', 0] }],
      11: ['ImageScaleToTotalPixels', { image: ['12', 0], megapixels: 1, upscale_method: 'area' }],
      12: ['LoadImage', { image: 'photo.png' }],
    });
    expect(places(workflow)).toMatchObject({ megapixels: '11.megapixels', batchSize: '4.batch_size' });
  });

  it('of samplers in a row are the seed that counts, and no steps of a part', () => {
    const shared = {
      steps: 20,
      cfg: 4,
      sampler_name: 'euler',
      scheduler: 'simple',
      positive: ['2', 0],
      negative: ['3', 0],
      model: ['1', 0],
    };
    const workflow = sampling({
      5: [
        'KSamplerAdvanced',
        {
          ...shared,
          add_noise: 'enable',
          noise_seed: 5,
          start_at_step: 0,
          end_at_step: 10,
          return_with_leftover_noise: 'enable',
          latent_image: ['4', 0],
        },
      ],
      8: [
        'KSamplerAdvanced',
        {
          ...shared,
          add_noise: 'disable',
          noise_seed: 0,
          start_at_step: 10,
          end_at_step: 10000,
          return_with_leftover_noise: 'disable',
          latent_image: ['5', 0],
        },
      ],
      6: ['VAEDecode', { samples: ['8', 0], vae: ['1', 2] }],
    });
    expect(places(workflow)).toMatchObject({ seed: '5.noise_seed' });
    expect(inputsOf(workflow)).not.toHaveProperty('steps');
    expect(inputsOf(workflow)['cfg']).toMatchObject({ node: '5', also: [{ node: '8', field: 'cfg' }] });
  });

  it('of a picture made anew are its file, the part that changes, and the size that it is scaled to', () => {
    const workflow = sampling(
      {
        4: ['VAEEncode', { pixels: ['10', 0], vae: ['1', 2] }],
        10: [
          'ImageScale',
          { image: ['11', 0], width: 640, height: 640, upscale_method: 'area', crop: 'center' },
        ],
        11: ['LoadImage', { image: 'photo.png' }],
      },
      { denoise: 0.6000000000000001 },
    );
    expect(inputsOf(workflow)).toMatchObject({
      image: { type: 'image', node: '11', field: 'image', required: true },
      width: { node: '10', field: 'width' },
      denoise: { type: 'number', default: 0.6, minimum: 0, maximum: 1 },
    });
    expect(inputsOf(workflow)).not.toHaveProperty('batchSize');
  });

  it('have the strength of a style LoRA, not of one that makes a model quick', () => {
    const lora = (lora_name: string) =>
      sampling(
        {
          10: [
            'LoraLoader',
            { lora_name, strength_model: 0.8, strength_clip: 0.8, model: ['1', 0], clip: ['1', 1] },
          ],
        },
        { model: ['10', 0] },
      );
    expect(inputsOf(lora('watercolour.safetensors'))['loraStrength']).toMatchObject({
      node: '10',
      also: [{ field: 'strength_clip' }],
    });
    expect(inputsOf(lora('Lightning-4steps-V1.safetensors'))).not.toHaveProperty('loraStrength');
  });

  it('are told apart by the titles of their nodes, else by numbers', () => {
    const second = (title?: string) =>
      sampling({
        10: ['ConditioningCombine', { conditioning_1: ['2', 0], conditioning_2: ['11', 0] }],
        11: ['CLIPTextEncode', { text: 'a hat', clip: ['1', 1] }, title],
        5: ['KSampler', { ...sampling()['5']!.inputs, positive: ['10', 0] }],
      });
    expect(Object.keys(places(second()))).toEqual(expect.arrayContaining(['prompt', 'prompt2']));
    expect(places(second('Accessory'))).toMatchObject({ accessory: '11.text', prompt: '2.text' });
  });

  it('of a mask are of the type mask', () => {
    const workflow = sampling({
      4: ['SetLatentNoiseMask', { samples: ['12', 0], mask: ['11', 1] }],
      11: ['LoadImage', { image: 'm.png' }],
      12: ['EmptyLatentImage', { width: 64, height: 64, batch_size: 1 }],
    });
    expect(inputsOf(workflow)['mask']).toMatchObject({ type: 'mask', node: '11', field: 'image' });
  });

  it('of files of models are asked for, and are those that the server lists', () => {
    const server = {
      ...core,
      ...catalogue(
        nodeClass('CheckpointLoaderSimple', { ckpt_name: [['base.safetensors', 'other.safetensors']] }, [
          'MODEL',
          'CLIP',
          'VAE',
        ]),
      ),
    };
    expect(inputsOf(sampling(), server)).not.toHaveProperty('checkpoint');
    const [checkpoint] = inferInputs(sampling(), server, { modelFiles: true }).filter(
      ({ kind }) => kind === 'model',
    );
    expect(checkpoint?.input).toMatchObject({
      type: 'enum',
      values: ['base.safetensors', 'other.safetensors'],
      default: 'base.safetensors',
    });
  });

  it('of a custom node that does everything itself are found by its fields', () => {
    const info = {
      ...core,
      ...catalogue(
        nodeClass(
          'ExampleGenerate',
          {
            prompt: ['STRING', { multiline: true }],
            negative_prompt: ['STRING', {}],
            seed: ['INT', { min: 0, max: 9 }],
            aspect_ratio: [['1:1', '16:9']],
            sampler: [['a', 'b']],
          },
          ['IMAGE'],
        ),
      ),
    };
    const workflow = api({
      1: [
        'ExampleGenerate',
        { prompt: 'a', negative_prompt: 'b', seed: 1, aspect_ratio: '1:1', sampler: 'a' },
      ],
      2: ['SaveImage', { images: ['1', 0], filename_prefix: 'x' }],
    });
    expect(inputsOf(workflow, info)).toMatchObject({
      prompt: { type: 'text' },
      negativePrompt: { type: 'text' },
      aspectRatio: { type: 'enum', values: ['1:1', '16:9'], default: '1:1' },
      seed: { maximum: 9 },
    });
    expect(inputsOf(workflow, info)).not.toHaveProperty('sampler');
  });
});

describe('markers in titles', () => {
  it('name inputs and outputs, and close their nodes to inference', () => {
    const workflow = sampling({
      2: ['CLIPTextEncode', { text: 'a cat', clip: ['1', 1] }, 'The picture @input subject!'],
      4: [
        'EmptyLatentImage',
        { width: 512, height: 768, batch_size: 1 },
        '@input wide=width @input tall=height',
      ],
      3: ['CLIPTextEncode', { text: 'blurry', clip: ['1', 1] }, 'Negative @ignore'],
      7: ['SaveImage', { images: ['6', 0], filename_prefix: 'x' }, 'Save @output poster'],
      8: ['PreviewImage', { images: ['6', 0] }],
    });
    expect(places(workflow)).toEqual({
      subject: '2.text',
      wide: '4.width',
      tall: '4.height',
      seed: '5.seed',
      steps: '5.steps',
      cfg: '5.cfg',
    });
    expect(inputsOf(workflow)['subject']).toMatchObject({ type: 'text', required: true });
    expect(inferOutputs(workflow, core)).toMatchObject([
      { name: 'poster', output: { node: '7', type: 'image' } },
    ]);
  });

  it('give files their type', () => {
    const workflow = api({
      1: ['LoadImage', { image: 'x.png' }, '@input photo'],
      2: ['SaveImage', { images: ['1', 0], filename_prefix: 'x' }],
    });
    expect(inputsOf(workflow)).toMatchObject({ photo: { type: 'image', required: true } });
  });

  it.each([
    ['@input', 'names nothing'],
    ['@input x=nothing', 'names nothing, which is no value of it'],
    ['@input x=clip', 'which is no value of it'],
    ['@input 12', 'names nothing'],
  ])('that cannot be followed are refused: %s', (title, words) => {
    const workflow = sampling({ 2: ['CLIPTextEncode', { text: 'a cat', clip: ['1', 1] }, title] });
    expect(() => inferInputs(workflow, core)).toThrow(
      expect.objectContaining({ code: 'invalid_marker', nodeId: '2' }),
    );
    expect(() => inferInputs(workflow, core)).toThrow(words);
  });

  it('must say which of several values is meant', () => {
    const workflow = sampling({
      4: ['EmptyLatentImage', { width: 512, height: 768, batch_size: 1 }, '@input size'],
    });
    expect(() => inferInputs(workflow, core)).toThrow('It has: width, height, batch_size.');
  });

  it('are not looked for in other words', () => {
    const workflow = sampling({
      2: ['CLIPTextEncode', { text: 'a cat', clip: ['1', 1] }, 'me@input.example @inputs'],
    });
    expect(places(workflow)).toMatchObject({ prompt: '2.text' });
  });
});

describe('inferred outputs', () => {
  it('are what is saved, with names of their own', () => {
    const workflow = sampling({
      8: ['PreviewImage', { images: ['6', 0] }],
      9: ['SaveImage', { images: ['6', 0], filename_prefix: 'y' }, 'Large'],
      10: ['CreateVideo', { images: ['6', 0], fps: 16 }],
      11: ['SaveVideo', { video: ['10', 0], filename_prefix: 'z', format: 'auto', codec: 'auto' }],
    });
    expect(inferOutputs(workflow, core).map(({ name, output }) => [name, output.node, output.type])).toEqual([
      ['picture', '7', 'image'],
      ['large', '9', 'image'],
      ['video', '11', 'video'],
    ]);
  });

  it('are what is shown where nothing is saved', () => {
    const workflow = api({ 1: ['LoadImage', { image: 'x.png' }], 2: ['PreviewImage', { images: ['1', 0] }] });
    expect(inferOutputs(workflow, core)).toMatchObject([
      { name: 'picture', why: expect.stringContaining('shows') as string },
    ]);
  });

  it('of a partner’s node are what is saved of it', () => {
    const workflow = api({
      1: ['TripoTextToModelNode', { prompt: 'a chair' }],
      2: ['SaveGLB', { mesh: ['1', 2], filename_prefix: 'x' }],
    });
    expect(inferOutputs(workflow, core)).toMatchObject([
      { name: 'file', output: { node: '2', type: 'file' } },
    ]);
    const alone = api({ 1: ['TripoTextToModelNode', { prompt: 'a chair' }] });
    expect(inferOutputs(alone, core)).toMatchObject([{ output: { node: '1' } }]);
  });
});
