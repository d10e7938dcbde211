import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { listEndpoints, loadEndpoint } from './endpoint-folder.ts';

const config = {
  name: 'poster',
  title: 'Poster',
  description: 'Makes posters.',
  workflow: 'workflow.json',
  inputs: {
    image: { type: 'image', node: '1', field: 'image', default: 'photo.jpg' },
    width: { type: 'integer', node: '2', field: 'width' },
  },
  outputs: { picture: { node: '3', type: 'image' } },
  comfyui: { version: '0.3.64' },
  gpu: ['T4'],
};
const workflow = {
  1: { class_type: 'LoadImage', inputs: { image: 'photo.jpg' } },
  2: { class_type: 'ImageScale', inputs: { image: ['1', 0], width: 64 } },
  3: { class_type: 'SaveImage', inputs: { images: ['2', 0] } },
};

describe('an endpoint’s folder', () => {
  let root = '';
  let folder = '';
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'endpoint-'));
    folder = path.join(root, 'poster');
    mkdirSync(folder);
    write('endpoint.json', config);
    write('workflow.json', workflow);
    writeFileSync(path.join(folder, 'photo.jpg'), '');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  function write(name: string, content: unknown): void {
    writeFileSync(path.join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  }

  it('is read whole', () => {
    const endpoint = loadEndpoint(folder);
    expect(endpoint.directory).toBe(folder);
    expect(Object.keys(endpoint.config.inputs)).toEqual(['image', 'width']);
    expect(Object.keys(endpoint.workflow)).toEqual(['1', '2', '3']);
  });

  it('is found by its endpoint.json', () => {
    mkdirSync(path.join(root, 'nothing'));
    writeFileSync(path.join(root, 'README.md'), '');
    expect(listEndpoints(root)).toEqual(['poster']);
  });

  it.each([
    ['another name', { ...config, name: 'other' }, 'must be the name of its folder, "poster"'],
    [
      'an input of a node that is not there',
      { ...config, inputs: { width: { type: 'integer', node: '9', field: 'width' } } },
      'inputs.width: the workflow has no node 9',
    ],
    [
      'a field that the node lacks',
      { ...config, inputs: { width: { type: 'integer', node: '2', field: 'widht' } } },
      'node 2 (ImageScale) has no input widht',
    ],
    [
      'a second target that is not there',
      {
        ...config,
        inputs: { width: { type: 'integer', node: '2', field: 'width', also: [{ node: '8', field: 'w' }] } },
      },
      'no node 8',
    ],
    [
      'a default file that is not there',
      { ...config, inputs: { image: { type: 'image', node: '1', field: 'image', default: 'gone.jpg' } } },
      'gone.jpg is not in the endpoint',
    ],
    [
      'a default file outside the folder',
      { ...config, inputs: { image: { type: 'image', node: '1', field: 'image', default: '../README.md' } } },
      'README.md',
    ],
    [
      'an output of a node that is not there',
      { ...config, outputs: { picture: { node: '7', type: 'image' } } },
      'outputs.picture: the workflow has no node 7',
    ],
    ['broken JSON', '{"name":', 'is not valid JSON'],
  ])('is refused with %s', (_case, content, words) => {
    writeFileSync(path.join(root, 'README.md'), '');
    write('endpoint.json', content);
    expect(() => loadEndpoint(folder)).toThrow(words);
  });

  it('is refused without its workflow', () => {
    rmSync(path.join(folder, 'workflow.json'));
    expect(() => loadEndpoint(folder)).toThrow('workflow.json cannot be read');
  });
});
