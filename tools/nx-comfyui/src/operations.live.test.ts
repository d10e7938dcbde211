/** status, logs, costs, stop and edit as programs, with the real `modal` client on local clouds. */
import { request } from 'node:http';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { RunningClouds } from '../test-support/running-clouds.ts';

const ENDPOINT = 'apps/endpoints/photo-finish';
const LIVE_MS = 240_000;
const state = z.object({ containers: z.array(z.object({ app: z.string() })) });
const status = z.object({
  modal: z
    .object({
      version: z.string(),
      fingerprint: z.string().nullable(),
      commit: z.string().nullable(),
      containers: z.array(z.object({ id: z.string() })),
      errors: z.array(z.string()),
    })
    .nullable(),
  runpod: z
    .object({
      endpointId: z.string(),
      jobs: z.object({ inQueue: z.number() }),
      workers: z.object({ idle: z.number() }),
    })
    .nullable(),
});

let clouds: RunningClouds;

beforeAll(async () => {
  clouds = await RunningClouds.start();
  const secret = await clouds.modal(['secret', 'create', 'ryla-secrets', 'A=1']);
  expect(secret.code, secret.stderr).toBe(0);
}, LIVE_MS);
afterAll(() => clouds[Symbol.asyncDispose](), LIVE_MS);

async function containers(app: string): Promise<number> {
  const response = await fetch(`${clouds.state.modal.webUrl}/_local/state`);
  return state.parse(await response.json()).containers.filter((container) => container.app === app).length;
}

async function statusOf(): Promise<z.infer<typeof status>> {
  const { code, stdout, stderr } = await clouds.program('status', ENDPOINT, '--json').ended;
  expect(code, stderr).toBe(0);
  return status.parse(JSON.parse(stdout));
}

describe('operations', () => {
  it('tells what is deployed nowhere', { timeout: LIVE_MS }, async () => {
    expect(await statusOf()).toEqual({ modal: null, runpod: null });
    const { code, stderr } = await clouds.program('logs', ENDPOINT).ended;
    expect(code).not.toBe(0);
    expect(stderr).toContain('ryla-photo-finish');
  });

  it('shows, reads, bills and stops a deployment', { timeout: LIVE_MS }, async () => {
    const env = { RYLA_ENDPOINT: 'photo-finish' };
    const deployed = await clouds.modal(['deploy', 'comfyui_app.py', '--tag', 'f00d'], env);
    expect(deployed.code, deployed.stderr).toBe(0);
    const { modal, runpod } = clouds.state;
    const web = `${modal.webUrl}/_w/${modal.workspace}--ryla-photo-finish-api`;
    const headers = { 'modal-key': modal.proxyKey, 'modal-secret': modal.proxySecret };
    expect((await fetch(`${web}/health`, { headers })).status).toBe(200);
    await fetch(`${new URL(runpod.apiUrl).origin}/_local/endpoints/photo-finish`, {
      method: 'PUT',
      body: '{"command":["true"]}',
    });

    const live = await statusOf();
    expect(live.modal).toMatchObject({ version: 'v1', fingerprint: 'f00d', errors: [] });
    expect(live.modal?.containers).toHaveLength(1);
    expect(live.runpod).toMatchObject({ endpointId: 'photo-finish', jobs: { inQueue: 0 } });
    const logs = await clouds.program('logs', ENDPOINT, '--tail=50').ended;
    expect(logs.stdout).toContain('"path": "/health"');

    const costs = await clouds.program('costs', ENDPOINT, '--for=today', '--json').ended;
    expect(costs.code, costs.stderr).toBe(0);
    const { totalDollars } = z.object({ totalDollars: z.number() }).parse(JSON.parse(costs.stdout));
    expect(totalDollars).toBeGreaterThan(0);

    const stopped = await clouds.program('stop', ENDPOINT, '--yes').ended;
    expect(stopped.code, stopped.stderr).toBe(0);
    expect(await containers('ryla-photo-finish')).toBe(0);
    expect((await statusOf()).modal).toBeNull();
  });
});

describe('edit', () => {
  it(
    "serves ComfyUI's page, nodes and WebSocket here alone, and leaves nothing",
    { timeout: LIVE_MS },
    async () => {
      const session = clouds.program('edit', ENDPOINT, '--no-browser', '--port=0');
      const url = (await session.line('Editing: ')).slice('Editing: '.length);
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
      const page = await fetch(`${url}/`);
      expect([page.status, page.headers.get('content-type')]).toEqual([
        200,
        expect.stringContaining('text/html'),
      ]);
      const nodes: unknown = await (await fetch(`${url}/object_info/SaveImage`)).json();
      expect(nodes).toHaveProperty('SaveImage.input.required.filename_prefix');
      expect(await firstMessage(`${url.replace('http', 'ws')}/ws?clientId=test`)).toHaveProperty(
        'type',
        'status',
      );

      const { webUrl, workspace } = clouds.state.modal;
      const bare = await fetch(`${webUrl}/_w/${workspace}--ryla-photo-finish-edit-dev/object_info`);
      expect(bare.status).toBe(401);
      expect(await statusFrom(url, { host: 'evil.example' })).toBe(403);
      expect(await statusFrom(url, { origin: 'https://evil.example' })).toBe(403);
      expect(await statusFrom(url, { origin: url })).toBe(200);
      expect(await containers('ryla-photo-finish-edit')).toBe(1);

      session.child.kill('SIGINT');
      const { code, stdout } = await session.ended;
      expect([code, stdout]).toEqual([0, expect.stringContaining('Stopping: you asked for it.')]);
      expect(await containers('ryla-photo-finish-edit')).toBe(0);
      await expect(fetch(url)).rejects.toThrow();
    },
  );

  it('stops by itself when nobody uses the page', { timeout: LIVE_MS }, async () => {
    const { code, stdout, stderr } = await clouds.program(
      'edit',
      ENDPOINT,
      '--no-browser',
      '--port=0',
      '--idle-minutes=0.01',
    ).ended;
    expect([code, stdout], stderr).toEqual([0, expect.stringContaining('was not used')]);
    expect(await containers('ryla-photo-finish-edit')).toBe(0);
  });
});

/** The first text message of a WebSocket, which is closed again. */
function firstMessage(url: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    socket.addEventListener('error', () => reject(new Error(`no WebSocket at ${url}`)));
    socket.addEventListener('message', ({ data }) => {
      socket.close();
      resolve(JSON.parse(String(data)));
    });
  });
}

/** fetch does not let a caller choose Host and Origin. */
function statusFrom(url: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request(`${url}/system_stats`, { headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end();
  });
}
