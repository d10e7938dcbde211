import { describe, expect, it } from 'vitest';

import { api, core, inputsOf, places, sampling } from '../../test-support/sampling-workflow.ts';
import { inferInputs } from './infer-inputs.ts';
import { inferOutputs } from './infer-outputs.ts';

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

  it('of one name and one value are one input', () => {
    const workflow = sampling({
      2: ['CLIPTextEncode', { text: 'same', clip: ['1', 1] }, '@input text'],
      3: ['CLIPTextEncode', { text: 'same', clip: ['1', 1] }, '@input text!'],
    });
    expect(inputsOf(workflow)['text']).toMatchObject({
      node: '2',
      also: [{ node: '3', field: 'text' }],
      required: true,
    });
    expect(inputsOf(workflow)).not.toHaveProperty('text2');
  });

  it('of one name for different values, or for two outputs, are refused with both nodes', () => {
    const inputs = sampling({
      2: ['CLIPTextEncode', { text: 'a cat', clip: ['1', 1] }, '@input text'],
      3: ['CLIPTextEncode', { text: 'blurry', clip: ['1', 1] }, '@input text'],
    });
    expect(() => inferInputs(inputs, core)).toThrow(/Nodes 2 \(text\) and 3 \(text\) are both marked/);
    const outputs = sampling({
      7: ['SaveImage', { images: ['6', 0], filename_prefix: 'x' }, '@output picture'],
      8: ['SaveImage', { images: ['6', 0], filename_prefix: 'y' }, '@output picture'],
    });
    expect(() => inferOutputs(outputs, core)).toThrow(
      'Nodes 7 and 8 (SaveImage) are both marked @output picture',
    );
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
