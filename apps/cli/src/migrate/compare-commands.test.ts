import path from 'node:path';

import { parseApiWorkflow, parseEndpointConfig } from '@ryla/workflow';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { migrationWorkspace, type MigrationWorkspace } from '../../test-support/migration-workspace.ts';
import { progressLine } from './compare-commands.ts';
import { compareInputs } from './compare-inputs.ts';
import { volumeOf } from './load.ts';

const endpoint = {
  config: parseEndpointConfig({
    name: 'picture',
    title: 'Picture',
    inputs: {
      seed: { type: 'integer', node: '1', field: 'seed', default: 1 },
      photo: { type: 'image', node: '2', field: 'image', default: 'photo.jpg' },
    },
    gpu: ['L4'],
  }),
  workflow: parseApiWorkflow({
    '1': { class_type: 'KSampler', inputs: { seed: 1 } },
    '2': { class_type: 'LoadImage', inputs: { image: 'photo.jpg' } },
  }),
};
let place: MigrationWorkspace;

beforeEach(() => {
  place = migrationWorkspace('off');
});
afterEach(() => {
  place[Symbol.dispose]();
});

describe('inputs of a comparison', () => {
  const many = { runs: 3, seed: 1 };

  it('are one set with other seeds for each run, files named from where the command was given', () => {
    const sets = compareInputs(endpoint, { ...many, input: ['photo=me.jpg'] });
    expect(new Set(sets.map(({ seed }) => seed)).size).toBe(3);
    expect(sets[0]?.['photo']).toEqual({ path: path.join(place.root, 'me.jpg') });
  });

  it('are the sets of a file, whose files are named from it', () => {
    const inputs = place.write('sets/inputs.json', [{ seed: 5, photo: 'a.jpg' }, { seed: 6 }]);
    expect(compareInputs(endpoint, { ...many, inputs })).toEqual([
      { seed: 5, photo: { path: path.join(place.root, 'sets/a.jpg') } },
      { seed: 6 },
    ]);
  });

  it.each([
    ['nowhere.json', undefined, 'cannot be read as JSON'],
    ['a.json', [], 'holds no set'],
    ['a.json', ['x'], 'Set 0'],
    ['a.json', { seed: null }, 'Input "seed" of set 0'],
    ['a.json', { other: 1 }, 'has no input "other"'],
  ])('%s with %j is refused', (file, content, message) => {
    if (content !== undefined) place.write(file, content);
    expect(() => compareInputs(endpoint, { ...many, inputs: path.join(place.root, file) })).toThrow(message);
  });

  it('are written as name=value', () => {
    expect(() => compareInputs(endpoint, { ...many, input: ['seed'] })).toThrow('name=value');
  });
});

it("takes a month's volume", () => {
  expect(volumeOf({ target: 'local', jobsPerMonth: 100, hoursPerDay: 8 })).toEqual({
    jobsPerMonth: 100,
    hoursPerDay: 8,
  });
  expect(volumeOf({ target: 'local' })).toBeUndefined();
  expect(() => volumeOf({ target: 'local', hoursPerDay: 8 })).toThrow('--jobs-per-month');
  expect(() => volumeOf({ target: 'local', jobsPerMonth: 1, hoursPerDay: 25 })).toThrow('at most 24');
});

it('shows a line for each job, and one line on a terminal', () => {
  const job = { backend: 'modal:picture', status: 'succeeded', totalMs: 1_200, usd: 0.001 } as const;
  for (const isTTY of [false, true]) {
    const written: string[] = [];
    const show = progressLine({ write: (text) => written.push(text), isTTY, columns: 80 });
    // The rest of a job is not read.
    show.progress({ done: 1, total: 3, job: job as never });
    show.close();
    expect(written.join('')).toBe(
      isTTY
        ? '\r\x1b[K1 of 3: modal:picture succeeded, 1.20 s, $0.00100\n'
        : '1 of 3: modal:picture succeeded, 1.20 s, $0.00100\n',
    );
  }
});
