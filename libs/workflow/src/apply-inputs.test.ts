import { describe, expect, it } from 'vitest';

import { applyInputs, parseInputText } from './apply-inputs.ts';
import { parseEndpointConfig } from './endpoint-config.ts';
import type { InputValues } from './endpoint-definition.ts';

const config = parseEndpointConfig({
  name: 'poster',
  title: 'Poster',
  inputs: {
    photo: { type: 'image', node: '1', field: 'image', default: 'photo.JPG' },
    words: {
      type: 'text',
      node: '2',
      field: 'text',
      also: [{ node: '3', field: 'text' }],
      required: true,
      maxLength: 5,
    },
    steps: { type: 'integer', node: '3', field: 'steps', minimum: 1, maximum: 9, default: 4 },
    mode: { type: 'enum', node: '3', field: 'mode', values: ['soft', 'hard'] },
    tiled: { type: 'boolean', node: '3', field: 'tiled' },
  },
});
const workflow = {
  '1': { class_type: 'LoadImage', inputs: { image: 'x.png' } },
  '2': { class_type: 'Text', inputs: { text: '' } },
  '3': {
    class_type: 'Sampler',
    inputs: { text: '', steps: 1, mode: 'soft', tiled: true, from: ['1', 0] as const },
  },
  '4': { class_type: 'Untouched', inputs: {} },
};
const apply = (values: InputValues) => applyInputs(config, workflow, values);

describe('applyInputs', () => {
  it('sets values and defaults in every place, without changing the workflow', () => {
    const before = structuredClone(workflow);
    const applied = apply({ words: 'moon', tiled: false });
    expect(workflow).toEqual(before);
    expect(applied.workflow['2']?.inputs).toEqual({ text: 'moon' });
    expect(applied.workflow['3']?.inputs).toEqual({
      text: 'moon',
      steps: 4,
      mode: 'soft',
      tiled: false,
      from: ['1', 0],
    });
    expect(applied.workflow['4']).toBe(workflow['4']);
  });

  it.each([
    [{ url: 'https://example.org/a/Photo.WEBP?size=b.gif' }, 'photo.webp'],
    [{ url: 'https://example.org/download?id=7', name: 'x.png' }, 'photo.png'],
    [{ url: 'https://example.org/' }, 'photo'],
    [{ name: 'x.jpeg', stream: ReadableStream.from([new Uint8Array(1)]) }, 'photo.jpeg'],
  ])('stages %j as %s', (photo, name) => {
    const applied = apply({ words: 'a', photo });
    expect(applied.files).toEqual([{ input: 'photo', name, source: photo }]);
    expect(applied.workflow['1']?.inputs['image']).toBe(name);
  });

  it('stages files under a plain name and puts it into the node', () => {
    expect(apply({ words: 'a' }).files).toEqual([
      { input: 'photo', name: 'photo.jpg', source: { defaultFile: 'photo.JPG' } },
    ]);
    const source = { name: '../../etc/passwd.png', bytes: new Uint8Array() };
    const applied = apply({ words: 'a', photo: source });
    expect(applied.files).toEqual([{ input: 'photo', name: 'photo.png', source }]);
    expect(applied.workflow['1']?.inputs).toEqual({ image: 'photo.png' });
  });

  it.each<[string, InputValues, string, string]>([
    ['an unknown input', { words: 'a', word: 'b' }, 'unknown_input', 'word'],
    ['an inherited name', { words: 'a', toString: 'b' }, 'unknown_input', 'toString'],
    ['a missing input', {}, 'missing_input', 'words'],
    ['a long text', { words: 'midnight' }, 'invalid_input', 'words'],
    ['a fraction', { words: 'a', steps: 1.5 }, 'invalid_input', 'steps'],
    ['too few', { words: 'a', steps: 0 }, 'invalid_input', 'steps'],
    ['too many', { words: 'a', steps: 10 }, 'invalid_input', 'steps'],
    ['NaN', { words: 'a', steps: Number.NaN }, 'invalid_input', 'steps'],
    ['a value that is none of the choices', { words: 'a', mode: 'loud' }, 'invalid_input', 'mode'],
    ['a text for a boolean', { words: 'a', tiled: 'true' }, 'invalid_input', 'tiled'],
    ['a path as a bare text', { words: 'a', photo: 'x.png' }, 'invalid_input', 'photo'],
  ])('refuses %s', (_case, values, code, input) => {
    expect(() => apply(values)).toThrow(expect.objectContaining({ code, input }));
  });
});

describe('parseInputText', () => {
  it('reads the text of a command line by the type of its input', () => {
    expect(parseInputText(config, 'steps', '7')).toBe(7);
    expect(parseInputText(config, 'tiled', 'false')).toBe(false);
    expect(parseInputText(config, 'words', '7')).toBe('7');
    expect(parseInputText(config, 'photo', 'a.png')).toEqual({ path: 'a.png' });
    expect(() => parseInputText(config, 'steps', 'x')).toThrow(/number/);
    expect(() => parseInputText(config, 'tiled', 'yes')).toThrow(/true or false/);
    expect(() => parseInputText(config, 'other', '')).toThrow(/no input/);
  });
});
