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

  it('takes custom nodes by repository and commit, and by registry and version', () => {
    const customNodes = [
      { name: 'first', repository: 'https://github.com/a/first', commit: 'a'.repeat(40) },
      { name: 'second', registry: 'second-nodes', version: '1.2.3' },
      { name: 'third', registry: 'third-nodes', version: '0.4', sha256: 'b'.repeat(64) },
    ];
    expect(parseEndpointConfig({ ...smallest, customNodes }).customNodes).toEqual(customNodes);
  });

  it.each([
    [{ name: 'x', registry: 'x', version: 'latest' }, 'customNodes.0.version: a version such as 1.2.3'],
    [{ name: 'x', registry: 'x', version: '1.2.3', sha256: 'f00' }, 'customNodes.0.sha256: 64 hexadecimal'],
    [{ name: 'x', registry: '../x', version: '1.2.3' }, 'customNodes.0.registry: an id of the registry'],
    [
      { name: 'x', repository: 'https://x.test/x', commit: 'main' },
      'customNodes.0.commit: a whole commit hash',
    ],
    [{ name: 'x', repository: 'https://x.test/x' }, 'customNodes.0.commit: '],
  ])('says of the form that was meant what is wrong with the custom node %j', (node, message) => {
    expect(() => parseEndpointConfig({ ...smallest, customNodes: [node] })).toThrow(message);
  });

  it('has its JSON Schema in the repository, up to date', () => {
    const file = path.join(import.meta.dirname, '../schema/endpoint.schema.json');
    // Stale: run src/write-schema.ts, as the README says.
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(endpointJsonSchema())));
  });
});
