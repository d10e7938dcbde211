import { readFileSync } from 'node:fs';
import path from 'node:path';

import { describe, expect, it } from 'vitest';

import { endpointJsonSchema, parseEndpointConfig } from './endpoint-config.ts';

const smallest = { name: 'poster', title: 'Poster' };

describe('endpoint.json', () => {
  it('needs a name and a title and fills in the rest', () => {
    expect(parseEndpointConfig(smallest)).toMatchObject({
      workflow: 'workflow.json',
      gpu: ['L4'],
      scaling: { minContainers: 0, maxContainers: 1, scaledownWindow: 60 },
      timeouts: { execution: 600, startup: 300 },
      providers: { modal: { auth: 'modal-proxy' } },
    });
  });

  it.each([
    ['gpu', { gpu: ['ZZZ'] }],
    ['timeouts.execution', { timeouts: { execution: 90_000 } }],
    ['scaling.scaledownWindow', { scaling: { scaledownWindow: 1 } }],
    ['scaling.minContainers', { scaling: { minContainers: 3, maxContainers: 2 } }],
    ['name', { name: 'Poster_1' }],
    ['colour', { colour: 'red' }],
  ])('says what is wrong with %s', (where, change) => {
    expect(() => parseEndpointConfig({ ...smallest, ...change })).toThrow(
      expect.objectContaining({
        code: 'invalid_endpoint',
        message: expect.stringContaining(where) as string,
      }),
    );
  });

  it('accepts models at a pinned revision only', () => {
    const model = { directory: 'vae', filename: 'ae.safetensors', size: 1, sha256: 'a'.repeat(64) };
    const at = (revision: string) => ({
      ...smallest,
      models: [{ ...model, url: `https://models.example/a/b/resolve/${revision}/ae.safetensors` }],
    });
    expect(parseEndpointConfig(at('0123abc')).models).toHaveLength(1);
    expect(() => parseEndpointConfig(at('main'))).toThrow(/pin the URL/);
  });

  it('has its JSON Schema in the repository, up to date', () => {
    const file = path.join(import.meta.dirname, '../schema/endpoint.schema.json');
    // Stale: run src/write-schema.ts, as the README says.
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(endpointJsonSchema())));
  });
});
