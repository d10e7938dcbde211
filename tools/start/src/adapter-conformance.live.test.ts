/** The adapters' conformance suite against both local clouds: the real modal client, the real runpod worker. */
import path from 'node:path';

import { modal, runpod } from '@ryla/business';
import { adapterConformance, type ConformanceTarget, greyPng } from '@ryla/business/testing';
import { afterAll, beforeAll, describe, it } from 'vitest';

import { LocalClouds, randomToken } from './clouds.ts';
import { pythonEnvironment } from './python-environment.ts';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const START_MS = 60_000;
const CASE_MS = 60_000;

describe('adapters against the local clouds', () => {
  let clouds: LocalClouds;
  beforeAll(async () => {
    clouds = await LocalClouds.start({ workspaceRoot, python: pythonEnvironment(workspaceRoot) });
  }, START_MS);
  afterAll(() => clouds.stop(), START_MS);

  describe('modal', () => {
    let target: ConformanceTarget;
    beforeAll(async () => {
      await clouds.createSecret('ryla-secrets', { RYLA_API_TOKEN: randomToken() });
      const { apiUrl: baseUrl } = await clouds.deployModal();
      const { proxyKey: key, proxySecret: secret } = clouds.description.modal;
      target = {
        adapter: modal({ baseUrl, auth: { type: 'modal-proxy', key, secret } }),
        stranger: modal({ baseUrl, auth: { type: 'modal-proxy', key, secret: 'wrong' } }),
        picture: greyPng(32, 32),
        timeoutMs: CASE_MS,
        measures: true,
      };
    }, START_MS);
    afterAll(() => Promise.all([target.adapter.close(), target.stranger.close()]));

    for (const { name, run } of adapterConformance) it(name, { timeout: CASE_MS }, () => run(target));
  });

  describe('runpod', () => {
    let target: ConformanceTarget;
    beforeAll(async () => {
      const endpointId = 'conformance';
      await clouds.registerRunpodWorker(endpointId);
      const { apiUrl, apiKey } = clouds.description.runpod;
      target = {
        adapter: runpod({ apiUrl, apiKey, endpointId }),
        stranger: runpod({ apiUrl, apiKey: 'wrong', endpointId }),
        picture: greyPng(32, 32),
        timeoutMs: CASE_MS,
        measures: true,
      };
    }, START_MS);
    afterAll(() => Promise.all([target.adapter.close(), target.stranger.close()]));

    for (const { name, run } of adapterConformance) it(name, { timeout: CASE_MS }, () => run(target));
  });
});
