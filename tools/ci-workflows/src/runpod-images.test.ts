import path from 'node:path';

import type { EndpointConfig } from '@ryla/workflow';
import { loadEndpoint } from '@ryla/workflow/node';
import { describe, expect, it } from 'vitest';

import { endpointsToBuild, joinImages, neededImages } from './runpod-images.ts';

const ENDPOINTS = path.resolve(import.meta.dirname, '../../../apps/endpoints');
const photo = loadEndpoint(path.join(ENDPOINTS, 'photo-finish')).config;
const withChanges = (changes: Partial<EndpointConfig>): EndpointConfig => ({ ...photo, ...changes });

describe('endpointsToBuild', () => {
  it('are those that get something new on RunPod', () => {
    const entry = (endpoint: string, action: string, provider = 'runpod') => ({ endpoint, action, provider });
    const endpoints = [
      entry('new', 'create'),
      entry('changed', 'update'),
      entry('same', 'unchanged'),
      entry('gone', 'undeploy'),
      entry('unreadable', 'unknown'),
      entry('elsewhere', 'update', 'modal'),
    ];
    expect(endpointsToBuild({ endpoints })).toEqual(['new', 'changed']);
  });
});

describe('neededImages', () => {
  const repository = 'ghcr.io/acme/workspace/ryla-runpod';

  const sources = () => 'sources';

  it('is built from the endpoint.json of the first endpoint that needs it', () => {
    const [image] = neededImages([photo], sources, repository);
    expect(image?.buildArgs).toBe('ENDPOINT=photo-finish');
    expect(image?.name).toBe(`${repository}:${image?.key}`);
    expect(image?.endpoints).toEqual(['photo-finish']);
  });

  it('is one for endpoints that are made of the same', () => {
    const images = neededImages([photo, withChanges({ name: 'second' })], sources, repository);
    expect(images.map(({ endpoints }) => endpoints)).toEqual([['photo-finish', 'second']]);
    expect(images[0]?.buildArgs).toBe('ENDPOINT=photo-finish');
  });

  it('is another after a change of what it is made of, and the same after any other change', () => {
    const key = (config: EndpointConfig, sourcesOf: (config: EndpointConfig) => string = sources) =>
      neededImages([config], sourcesOf, repository)[0]?.key;
    const published = { name: 'x', registry: 'x', version: '1.2.3' };
    const changes: Partial<EndpointConfig>[] = [
      { comfyui: { version: '9.9.9' } },
      { customNodes: [published] },
      { customNodes: [{ ...published, version: '1.2.4' }] },
      { image: { ...photo.image, systemPackages: ['libegl1'] } },
      { image: { ...photo.image, variables: { OMP_NUM_THREADS: '8' } } },
    ];
    const keys = [photo, ...changes.map(withChanges)].map((config) => key(config));
    expect(new Set(keys).size).toBe(changes.length + 1);
    expect(key(photo, () => 'changed sources')).not.toBe(key(photo));
    expect(key(withChanges({ scaling: { ...photo.scaling, maxContainers: 9 } }))).toBe(key(photo));
  });
});

describe('joinImages', () => {
  const reference = `ghcr.io/acme/x@sha256:${'a'.repeat(64)}`;

  it('is one object of all that was built', () => {
    expect(joinImages([JSON.stringify({ a: reference }), JSON.stringify({ b: reference })])).toEqual({
      a: reference,
      b: reference,
    });
    expect(joinImages([])).toEqual({});
  });

  it('takes digests only', () => {
    expect(() => joinImages(['{"a":"ghcr.io/acme/x:latest"}'])).toThrow();
  });
});
