/** The local RunPod of tools/local-clouds in a child process, and its control routes. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { request } from 'undici';
import { z } from 'zod';

import { createRunPodManagement, type RunPodManagement, type RunPodManagementOptions } from './client.ts';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');

const addresses = z.object({ apiUrl: z.url(), managementUrl: z.url(), apiKey: z.string() });
const journal = z.object({
  requests: z.array(
    z.object({
      operation: z.string(),
      method: z.string(),
      path: z.string(),
      query: z.record(z.string(), z.string()),
      body: z.unknown(),
      status: z.int().nullable(),
      requestId: z.string(),
    }),
  ),
});

/** A request that the stand-in received. */
export type ReceivedRequest = z.infer<typeof journal>['requests'][number];

/** A running local RunPod. */
export interface LocalRunPod extends AsyncDisposable {
  readonly apiUrl: string;
  readonly managementUrl: string;
  readonly apiKey: string;
  /** A client that never waits between attempts. */
  client(options?: Partial<RunPodManagementOptions>): RunPodManagement;
  /** One request as somebody else would send it, such as by hand; returns the JSON. */
  send(method: string, path: string, body?: object): Promise<Record<string, unknown>>;
  /** What was received since the last reset. */
  received(): Promise<readonly ReceivedRequest[]>;
  /** The same without reads, as `operation path`. */
  writes(): Promise<readonly ReceivedRequest[]>;
  forgetRequests(): Promise<void>;
  /** Switches faults on. */
  fault(...specs: readonly string[]): Promise<void>;
  control(method: string, path: string, body?: unknown): Promise<unknown>;
  /** An account without anything. */
  reset(): Promise<void>;
}

/** Starts it; the child ends with its standard input, even when this process is killed. */
export async function startLocalRunPod(): Promise<LocalRunPod> {
  const python = path.join(workspaceRoot, '.venv/bin/python');
  if (!existsSync(python)) throw new Error('There is no .venv: run `npm run setup` once.');
  const child = spawn(python, ['-m', 'local_clouds.runpod'], { stdio: ['pipe', 'pipe', 'pipe'] });
  const log: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => log.push(line));
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', resolve);
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`The local RunPod did not start:\n${log.join('\n')}`)));
  });
  const { apiUrl, managementUrl, apiKey } = addresses.parse(JSON.parse(line));

  async function json(url: string, method: string, body?: unknown): Promise<unknown> {
    const response = await request(url, {
      method,
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.body.text();
    if (response.statusCode > 299) throw new Error(`${method} ${url}: ${response.statusCode} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }
  const control = (method: string, route: string, body?: unknown): Promise<unknown> =>
    json(`${managementUrl.replace(/\/v2$/, '')}/_local/${route}`, method, body);
  async function received(): Promise<readonly ReceivedRequest[]> {
    return journal.parse(await control('GET', 'requests')).requests;
  }
  return {
    apiUrl,
    managementUrl,
    apiKey,
    client: (options) =>
      createRunPodManagement({
        apiKey,
        baseUrl: managementUrl,
        sleep: () => Promise.resolve(),
        ...options,
      }),
    send: async (method, route, body) =>
      z.record(z.string(), z.unknown()).parse((await json(`${managementUrl}/${route}`, method, body)) ?? {}),
    received,
    writes: async () => (await received()).filter(({ method }) => method !== 'GET'),
    forgetRequests: async () => {
      await control('DELETE', 'requests');
    },
    fault: async (...specs) => {
      await control('PUT', 'faults', specs);
    },
    control,
    reset: async () => {
      await control('DELETE', 'state');
    },
    [Symbol.asyncDispose]: async () => {
      child.stdin.end();
      await exited;
    },
  };
}
