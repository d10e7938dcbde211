import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { parseEndpointConfig } from '@ryla/workflow';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  checkConfig,
  type ConfiguredService,
  createServiceFromConfig,
  describeTarget,
  gatewayUrl,
  type ResolvedConfig,
  type RylaConfig,
} from './config.ts';
import { ComfyUIServiceError } from './errors.ts';
import { LOCAL_CLOUDS_FILE } from './local-clouds.ts';

const endpoint = (name: string, runpod: { readonly endpointId?: string } = {}, modal: object = {}) =>
  parseEndpointConfig({
    name,
    title: name,
    description: name,
    workflow: 'workflow.json',
    inputs: {},
    outputs: { picture: { node: '1', type: 'image' } },
    comfyui: { version: '0.3.64' },
    gpu: ['T4'],
    providers: { runpod, modal },
  });
const MODAL = { MODAL_WORKSPACE: 'acme', MODAL_PROXY_KEY: 'wk-secret', MODAL_PROXY_SECRET: 'ws-secret' };

describe('a configuration', () => {
  const check = (config: object): (() => void) => {
    return () => checkConfig(config, ['photo-finish']);
  };

  it('may be empty', () => expect(check({})).not.toThrow());

  it('is refused with every field that does not exist or is wrong', () => {
    expect(check({ usdPerDays: {}, defaultProvider: 'modl' })).toThrow('usdPerDays');
    expect(check({ defaultProvider: 'modl' })).toThrow('defaultProvider');
    expect(check({ usdPerDay: { 'photo-finish': -1 } })).toThrow('usdPerDay.photo-finish');
    expect(check({ routes: { 'photo-finish': { modal: 0 } } })).toThrow('a share above 0');
  });

  it('is refused when a limit or a route names an endpoint that does not exist', () => {
    expect(check({ usdPerDay: { 'photo-finsh': 1 } })).toThrow(
      'usdPerDay.photo-finsh: there is no such endpoint',
    );
    expect(check({ routes: { other: { modal: 1 } } })).toThrow('routes.other');
    expect(check({ runcomfy: { other: { deploymentId: 'd' } } })).toThrow('runcomfy.other');
  });

  it('is refused when a limit would not limit, since RunComfy tells no costs', () => {
    const usdPerDay = { 'photo-finish': 1 };
    expect(check({ usdPerDay, routes: { 'photo-finish': { runcomfy: 1 } } })).toThrow(
      'RunComfy does not tell',
    );
    expect(check({ usdPerDay, routes: { 'photo-finish': { modal: 1 } } })).not.toThrow();
  });

  it('takes names of variables, and does not repeat a key that stands there instead', () => {
    expect(check({ cloud: { runpodApiKey: 'MY_RUNPOD_KEY' } })).not.toThrow();
    expect(check({ cloud: { runpodApiKey: 'rpa-a.secret' } })).toThrow('cloud.runpodApiKey');
    expect(check({ cloud: { runpodApiKey: 'rpa-a.secret' } })).not.toThrow('rpa-a.secret');
  });
});

describe("an endpoint's address on Modal", () => {
  const url = (
    env: Readonly<Record<string, string>>,
    modal: object = {},
    cloud: RylaConfig['cloud'] = {},
  ): string => {
    const resolved: ResolvedConfig = { root: '/', target: 'cloud', config: { cloud }, env };
    return gatewayUrl(resolved, endpoint('photo-finish', {}, modal));
  };
  const acme = { MODAL_WORKSPACE: 'acme' };

  it('has the label of endpoint.json', () => {
    expect(url(acme)).toBe('https://acme--ryla-photo-finish-api.modal.run');
    expect(url(acme, { label: 'pictures' })).toBe('https://acme--pictures-api.modal.run');
  });

  it('has the environment behind the workspace, unless it is the default one', () => {
    const dev = { ...acme, MODAL_ENVIRONMENT: 'dev' };
    expect(url(dev, { label: 'pictures' })).toBe('https://acme-dev--pictures-api.modal.run');
    expect(url({ ...acme, MODAL_ENVIRONMENT: 'main' })).toBe('https://acme--ryla-photo-finish-api.modal.run');
    expect(url({ ...acme, STAGE: 'prod' }, {}, { modalEnvironment: 'STAGE' })).toBe(
      'https://acme-prod--ryla-photo-finish-api.modal.run',
    );
    expect(describeTarget({ root: '/', target: 'cloud', config: {}, env: dev })).toContain(
      'workspace acme, environment dev',
    );
  });

  it("has the environment's own suffix where it was given another", () => {
    const dev = { ...acme, MODAL_ENVIRONMENT: 'development' };
    expect(url({ ...dev, MODAL_WEB_SUFFIX: 'dev' })).toBe(
      'https://acme-dev--ryla-photo-finish-api.modal.run',
    );
    expect(url({ ...dev, MODAL_WEB_SUFFIX: '' })).toBe('https://acme--ryla-photo-finish-api.modal.run');
  });

  it('is refused where Modal would cut it', () => {
    const long = { ...acme, MODAL_ENVIRONMENT: 'e'.repeat(40) };
    expect(() => url(long)).toThrow('68 characters');
    expect(url(long, { label: 'p' })).toHaveLength('https://'.length + 52 + '.modal.run'.length);
  });

  it('has the label on the local clouds too', () => {
    const root = mkdtempSync(path.join(tmpdir(), 'config-'));
    try {
      mkdirSync(path.join(root, '.local-clouds'));
      const modal = { serverUrl: 'http://127.0.0.1:1', webUrl: 'http://127.0.0.1:2', workspace: 'local' };
      const clouds = {
        modal: { ...modal, proxyKey: 'wk', proxySecret: 'ws' },
        runpod: { apiUrl: 'http://127.0.0.1:3', apiKey: 'key' },
        environment: {},
      };
      writeFileSync(path.join(root, LOCAL_CLOUDS_FILE), JSON.stringify(clouds));
      const resolved: ResolvedConfig = { root, target: 'local', config: {}, env: {} };
      expect(gatewayUrl(resolved, endpoint('photo-finish', {}, { label: 'pictures' }))).toBe(
        'http://127.0.0.1:2/_w/local--pictures-api',
      );
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
});

describe('the service of a configuration', () => {
  let root = '';
  let opened: ConfiguredService | undefined;
  const open = async (
    config: RylaConfig,
    env: Readonly<Record<string, string>>,
  ): Promise<ConfiguredService> => {
    const flux = endpoint('flux-schnell', { endpointId: 'real-flux' });
    opened = await createServiceFromConfig({ root, target: 'cloud', config, env }, [
      flux,
      endpoint('photo-finish'),
    ]);
    return opened;
  };
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'config-'));
  });
  afterEach(async () => {
    await opened?.service.close();
    rmSync(root, { recursive: true, force: true });
  });
  const submission = {
    config: endpoint('photo-finish'),
    workflow: { '1': { class_type: 'SaveImage', inputs: {} } },
  };

  it('sends jobs to RunComfy where a deployment is named, and only there', async () => {
    const runcomfy = { 'photo-finish': { deploymentId: 'd-1' } };
    const routes = { 'photo-finish': { runcomfy: 1 } };
    const { service, unusable } = await open({ runcomfy, routes }, { RUNCOMFY_API_KEY: 'key' });
    expect(unusable.has('runcomfy:photo-finish')).toBe(false);
    expect(unusable.has('runcomfy:flux-schnell')).toBe(false);
    expect(service.routes.table.endpoints?.['photo-finish']).toEqual([
      { backend: 'runcomfy:photo-finish', weight: 1 },
    ]);
  });

  it.each([
    [{ routes: { 'photo-finish': { runcomfy: 1 } } }, 'runcomfy.photo-finish.deploymentId'],
    [{ runcomfy: { 'photo-finish': { deploymentId: 'd' } } }, 'RUNCOMFY_API_KEY'],
    [{ runcomfy: { 'photo-finish': { deploymentId: 'd', saved: 'no.json' } } }, 'no.json'],
  ])('says of %j what RunComfy lacks', async (config, missing) => {
    const env: Record<string, string> = missing === 'no.json' ? { RUNCOMFY_API_KEY: 'key' } : {};
    const { unusable } = await open(config, env);
    expect(unusable.get('runcomfy:photo-finish')?.message).toContain(missing);
  });

  it("never sends an endpoint's job to another endpoint's deployment", async () => {
    // The only usable deployment is flux-schnell's.
    const { service, unusable } = await open({}, { RUNPOD_API_KEY: 'key' });
    expect([...unusable.keys()]).toContain('modal:photo-finish');
    await expect(service.submit(submission, {})).rejects.toMatchObject({ code: 'unknown_backend' });
    const bare = service.submitWorkflow({ workflow: submission.workflow });
    await expect(bare).rejects.toMatchObject({ code: 'unknown_backend' });
    expect((await service.jobs.list()).jobs).toEqual([]);
  });

  it('refuses jobs rather than moving the share of a deployment that cannot be used', async () => {
    const routes = { 'photo-finish': { modal: 1, runpod: 9 } };
    const { service, unusable } = await open({ routes }, MODAL);
    expect(unusable.get('runpod:photo-finish')?.message).toContain('providers.runpod.endpointId');
    expect(service.routes.table.endpoints?.['photo-finish']).toEqual([
      { backend: 'modal:photo-finish', weight: 1 },
      { backend: 'runpod:photo-finish', weight: 9 },
    ]);
    await expect(service.submit(submission, {})).rejects.toMatchObject({ code: 'unknown_backend' });
  });

  it('says what is missing by name, and never a value', async () => {
    const { unusable } = await open({}, { MODAL_WORKSPACE: 'acme', MODAL_PROXY_KEY: 'wk-secret' });
    const reason = unusable.get('modal:photo-finish');
    expect(ComfyUIServiceError.isInstance(reason) && reason.message).toContain('MODAL_PROXY_SECRET');
    expect(JSON.stringify([...unusable.values()].map(({ message }) => message))).not.toContain('wk-secret');
  });

  it('describes local clouds that do not run', () => {
    expect(describeTarget({ root, target: 'local', config: {}, env: {} })).toBe('local clouds (not running)');
  });
});
