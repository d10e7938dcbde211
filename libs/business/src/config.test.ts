import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { parseEndpointConfig } from '@ryla/workflow';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  checkConfig,
  type ConfiguredService,
  createServiceFromConfig,
  describeTarget,
  type RylaConfig,
} from './config.ts';
import { ComfyUIServiceError } from './errors.ts';

const endpoint = (name: string, runpod: { readonly endpointId?: string } = {}) =>
  parseEndpointConfig({
    name,
    title: name,
    description: name,
    workflow: 'workflow.json',
    inputs: {},
    outputs: { picture: { node: '1', type: 'image' } },
    comfyui: { version: '0.3.64' },
    gpu: ['T4'],
    providers: { runpod },
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
  });

  it('takes names of variables, and does not repeat a key that stands there instead', () => {
    expect(check({ cloud: { runpodApiKey: 'MY_RUNPOD_KEY' } })).not.toThrow();
    expect(check({ cloud: { runpodApiKey: 'rpa-a.secret' } })).toThrow('cloud.runpodApiKey');
    expect(check({ cloud: { runpodApiKey: 'rpa-a.secret' } })).not.toThrow('rpa-a.secret');
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
