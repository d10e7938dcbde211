import { describe, expect, it } from 'vitest';

import { parseEndpointConfig } from './endpoint-config.ts';
import { inEnvironment } from './endpoint-deployment.ts';

const smallest = { name: 'poster', title: 'Poster' };

describe('what a deployment runs on', () => {
  it('has defaults that cost nothing when idle', () => {
    expect(parseEndpointConfig(smallest)).toMatchObject({
      gpu: ['L4'],
      regions: [],
      snapshot: 'none',
      secrets: [],
      volumes: [],
      image: { systemPackages: [], variables: {} },
      gateway: { cpu: 0.5, memory: 512, concurrency: 100, minContainers: 0, scaledownWindow: 60 },
    });
  });

  it.each([
    ['timeouts.execution', { timeouts: { execution: 86_401 } }, 'Modal takes 1 to 86400 seconds'],
    ['timeouts.startup', { timeouts: { startup: 0 } }, 'Modal takes 1 to 86400 seconds'],
    ['scaling.scaledownWindow', { scaling: { scaledownWindow: 2000 } }, 'Modal takes 2 to 1200 seconds'],
    ['cpu', { cpu: 0.1 }, 'Modal takes 0.125 to 64 cores'],
    ['memory', { memory: 400_000 }, 'Modal takes 128 to 344064 MiB'],
    ['gateway.concurrency', { gateway: { concurrency: 2000 } }, 'Modal takes 1 to 1000 requests'],
    [
      'environments.dev.timeouts.execution',
      { environments: { dev: { timeouts: { execution: 0 } } } },
      '1 to 86400',
    ],
    [
      'environments.prod.scaling.minContainers',
      { environments: { prod: { scaling: { minContainers: 2 } } } },
      'not be above maxContainers',
    ],
    ['volumes.0.mountPath', { volumes: [{ name: 'v', mountPath: '/root/models/loras' }] }, 'not at or below'],
    ['volumes.0.mountPath', { volumes: [{ name: 'v', mountPath: '/data/../etc' }] }, 'absolute path'],
    [
      'volumes.1.mountPath',
      {
        volumes: [
          { name: 'a', mountPath: '/data' },
          { name: 'b', mountPath: '/data' },
        ],
      },
      'there twice',
    ],
    ['image.systemPackages.0', { image: { systemPackages: ['ffmpeg; rm'] } }, 'Debian package'],
    [
      'image.variables.MODAL_TOKEN_ID',
      { image: { variables: { MODAL_TOKEN_ID: 'x' } } },
      'does not set itself',
    ],
    ['regions.0', { regions: ['Europe!'] }, 'region of Modal'],
    ['snapshot', { snapshot: 'disk' }, 'none'],
    [
      'customNodes.0.name',
      { customNodes: [{ name: 'a b', repository: 'https://x.example/n', commit: 'a'.repeat(40) }] },
      'folder name',
    ],
    [
      'customNodes.1.name',
      {
        customNodes: ['a', 'b'].map((digit) => ({
          name: 'twin',
          repository: 'https://x.example/n',
          commit: digit.repeat(40),
        })),
      },
      'there twice',
    ],
  ])('refuses %s with what it may be', (path, change, message) => {
    const parse = () => parseEndpointConfig({ ...smallest, ...change });
    expect(parse).toThrow(`  ${path}: `);
    expect(parse).toThrow(message);
  });

  it.each([true, 'warm-up.json', { workflow: 'warm-up.json', required: true }])(
    'takes %j as the run before the first job',
    (warmUp) => {
      expect(() => parseEndpointConfig({ ...smallest, warmUp })).not.toThrow();
      expect(() => parseEndpointConfig({ ...smallest, environments: { dev: { warmUp } } })).not.toThrow();
    },
  );

  it.each(['../warm-up.json', '/warm-up.json', 'warm-up', { workflow: '.x.json' }, { other: 1 }, 3])(
    'refuses %j as the run before the first job',
    (warmUp) => {
      expect(() => parseEndpointConfig({ ...smallest, warmUp })).toThrow('warmUp');
    },
  );

  it('lays an environment over the rest: objects are merged, lists replaced', () => {
    const config = parseEndpointConfig({
      ...smallest,
      gpu: ['H100', 'A100-80GB'],
      scaling: { minContainers: 1, maxContainers: 4 },
      environments: { dev: { gpu: ['L4'], scaling: { minContainers: 0 } }, prod: {} },
    });
    const dev = inEnvironment(config, 'dev');
    expect(dev.gpu).toEqual(['L4']);
    expect(dev.scaling).toEqual({ ...config.scaling, minContainers: 0 });
    expect(inEnvironment(config, 'prod')).toEqual(config);
    expect(inEnvironment(config, 'nowhere')).toBe(config);
  });

  it('keeps what a caller must know out of the environments', () => {
    const change = { environments: { dev: { providers: { modal: { auth: 'bearer' } } } } };
    expect(() => parseEndpointConfig({ ...smallest, ...change })).toThrow('environments.dev');
  });
});
