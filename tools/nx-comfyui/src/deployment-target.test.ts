import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { modalEnvironment, parseTarget } from './deployment-target.ts';
import { taskFingerprint } from './fingerprint-record.ts';
import { LOCAL_CLOUDS_FILE, localWebUrl, readLocalClouds } from '@ryla/business/local-clouds';

const clouds = {
  modal: {
    serverUrl: 'http://127.0.0.1:9900',
    webUrl: 'http://127.0.0.1:9901',
    workspace: 'local',
    tokenId: 'ak-local',
    proxyKey: 'wk-local',
    proxySecret: 'ws-local',
  },
  runpod: { apiUrl: 'http://127.0.0.1:9902/v2', apiKey: 'rk-local' },
  environment: { MODAL_SERVER_URL: 'http://127.0.0.1:9900', MODAL_TOKEN_ID: 'ak-local' },
};

describe('deployment target', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'nx-comfyui-'));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  function start(content: unknown): void {
    const file = path.join(root, LOCAL_CLOUDS_FILE);
    mkdirSync(path.dirname(file));
    writeFileSync(file, JSON.stringify(content));
  }

  it('puts the local clouds in place of every setting of a real account', () => {
    start(clouds);
    const { variables, description } = modalEnvironment('local', root, {
      PATH: '/bin',
      MODAL_TOKEN_ID: 'ak-real',
      MODAL_PROFILE: 'work',
      MODAL_ENVIRONMENT: 'prod',
    });
    expect(variables).toEqual({
      PATH: '/bin',
      MODAL_PROFILE: undefined,
      MODAL_ENVIRONMENT: undefined,
      ...clouds.environment,
    });
    expect(description).toContain('local clouds');
  });

  it('says how to start local clouds that do not run, instead of using an account', () => {
    expect(() => modalEnvironment('local', root, { MODAL_TOKEN_ID: 'ak-real' })).toThrow('npm run clouds');
  });

  it('refuses to call a stand-in a real cloud', () => {
    expect(() => modalEnvironment('cloud', root, { MODAL_SERVER_URL: 'http://127.0.0.1:1' })).toThrow(
      'Unset MODAL_SERVER_URL',
    );
  });

  it('refuses other targets and a state it cannot read', () => {
    expect(parseTarget('cloud')).toBe('cloud');
    expect(() => parseTarget('prod')).toThrow('"prod"');
    start({ modal: {} });
    expect(() => readLocalClouds(root)).toThrow('cannot be understood');
  });

  it('reaches web functions by path', () => {
    start(clouds);
    expect(localWebUrl(readLocalClouds(root), 'ryla-poster-api')).toBe(
      'http://127.0.0.1:9901/_w/local--ryla-poster-api',
    );
  });
});

describe('fingerprint', () => {
  it('is the hash of its own task only', () => {
    const env = { NX_TASK_HASH: '123', NX_TASK_TARGET_TARGET: 'fingerprint' };
    expect(taskFingerprint('poster', env)).toEqual({ endpoint: 'poster', fingerprint: '123' });
    expect(() => taskFingerprint('poster', { ...env, NX_TASK_TARGET_TARGET: 'deploy' })).toThrow(
      'npx nx fingerprint poster',
    );
    expect(() => taskFingerprint('poster', {})).toThrow('npx nx fingerprint poster');
  });
});
