import { describe, expect, it } from 'vitest';

import { api, core, inputsOf, type Nodes, places, sampling } from '../../test-support/sampling-workflow.ts';
import { catalogue, nodeClass } from '../../test-support/ui-graph.ts';
import { inferInputs } from './infer-inputs.ts';

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

  it('leave out a negative prompt where another node holds the cfg of 1', () => {
    const held = (value: number) =>
      places(sampling({ 10: ['PrimitiveFloat', { value }, 'CFG'] }, { cfg: ['10', 0] }));
    expect(held(1)).not.toHaveProperty('negativePrompt');
    expect(held(4)).toMatchObject({ negativePrompt: '3.text', cfg: '10.value' });
  });

  it('of a partner are found without a prompt, and behind a node that holds it', () => {
    const workflow = api({
      1: ['LoadImage', { image: 'x.png' }],
      2: ['LumaReferenceNode', { image: ['1', 0], weight: 0.5 }],
      3: [
        'LumaImageNode',
        {
          ...{ prompt: 'a man', model: 'photon-1', aspect_ratio: '3:4', seed: 1, style_image_weight: 0.9 },
          ...{ image_luma_ref: ['2', 0], style_image: ['1', 0] },
        },
      ],
      4: ['SaveImage', { images: ['3', 0], filename_prefix: 'x' }],
      5: [
        'TripoImageToModelNode',
        { image: ['1', 0], model_version: 'v2.5-20250123', model_seed: 42, texture_seed: 43 },
      ],
      6: ['Rodin3D_Regular', { Images: ['1', 0], Seed: 3 }],
      7: ['Preview3D', { model_file: ['6', 0], image: '' }],
    });
    expect(places(workflow)).toMatchObject({
      weight: '2.weight',
      styleImageWeight: '3.style_image_weight',
      modelVersion: '5.model_version',
      seed: '3.seed',
      seed2: '6.Seed',
    });
  });

  it('of a larger canvas are its margins, where something fills them', () => {
    const margins = { left: 0, top: 8, right: 16, bottom: 24, feathering: 0 };
    const pad: Nodes = {
      10: ['LoadImage', { image: 'x.png' }],
      11: ['ImagePadForOutpaint', { image: ['10', 0], ...margins }],
      12: ['VAEEncodeForInpaint', { pixels: ['11', 0], mask: ['11', 1], vae: ['1', 2], grow_mask_by: 6 }],
    };
    expect(places(sampling(pad, { latent_image: ['12', 0] }))).toMatchObject({
      left: '11.left',
      top: '11.top',
      right: '11.right',
      bottom: '11.bottom',
    });
    const shown = api({ ...pad, 13: ['PreviewImage', { images: ['11', 0] }] });
    expect(places(shown)).not.toHaveProperty('left');
  });

  it('of schnell have no guidance, which it ignores', () => {
    const encode = { clip: ['1', 1], clip_l: 'a cat', t5xxl: 'a cat', guidance: 3.5 };
    const flux = (ckpt_name: string) =>
      sampling({ 1: ['CheckpointLoaderSimple', { ckpt_name }], 2: ['CLIPTextEncodeFlux', encode] });
    expect(places(flux('flux1-dev.safetensors'))).toHaveProperty('guidance');
    expect(places(flux('flux1-schnell.safetensors'))).not.toHaveProperty('guidance');
  });

  it('are no texts that draw a track', () => {
    const track = { tracks: '[[{"x":1}]]', width: 64, height: 64, length: 5, batch_size: 1 };
    const workflow = sampling(
      { 10: ['WanTrackToVideo', { positive: ['2', 0], negative: ['3', 0], vae: ['1', 2], ...track }] },
      { positive: ['10', 0] },
    );
    expect(Object.values(places(workflow))).not.toContain('10.tracks');
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

  it('offers nothing that can have one value only', () => {
    const info = {
      ...core,
      ...catalogue(
        nodeClass(
          'ExampleGenerate',
          {
            prompt: ['STRING', { multiline: true }],
            seed: ['INT', { min: 0, max: 9 }],
            duration: ['INT', { min: 5, max: 5 }],
            resolution: [['1080p']],
            aspect_ratio: [['1:1', '16:9']],
          },
          ['IMAGE'],
        ),
      ),
    };
    const values = { prompt: 'a', seed: 1, duration: 5, resolution: '1080p', aspect_ratio: '1:1' };
    const workflow = api({
      1: ['ExampleGenerate', values],
      2: ['SaveImage', { images: ['1', 0], filename_prefix: 'x' }],
    });
    expect(Object.keys(inputsOf(workflow, info))).toEqual(['prompt', 'aspectRatio', 'seed']);
  });
});
