/** The local RunPod alone in a child process, with what it received. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';

import { createRunPodManagement, type RunPodManagement } from '@ryla/runpod-management';
import { z } from 'zod';

import { bin } from './clouds-process.ts';

const addresses = z.object({ apiUrl: z.url(), managementUrl: z.url(), apiKey: z.string() });
const journal = z.object({
  requests: z.array(
    z.object({ operation: z.string(), method: z.string(), path: z.string(), body: z.unknown() }),
  ),
});

/** A running local RunPod. */
export interface LocalRunPod extends AsyncDisposable {
  readonly client: RunPodManagement;
  readonly managementUrl: string;
  readonly apiKey: string;
  /** What .local-clouds/environment.json says of it, with this key in place of its own. */
  environment(apiKey?: string): object;
  /** One request as somebody else would send it; returns the JSON. */
  send(method: string, route: string, body?: object): Promise<Record<string, unknown>>;
  control(method: string, route: string, body?: unknown): Promise<unknown>;
  /** Requests since the last call that change something, as `DELETE /v2/serverless/…`. */
  writes(): Promise<readonly { readonly request: string; readonly body: unknown }[]>;
}

/**
 * Starts it; it ends with its standard input, even when this process is killed.
 *
 * @param account file of what the account holds from the start; nothing without it.
 */
export async function startLocalRunPod(account?: string): Promise<LocalRunPod> {
  const args = ['-m', 'local_clouds.runpod', ...(account === undefined ? [] : ['--account', account])];
  const child = spawn(path.join(bin, 'python'), args, { stdio: ['pipe', 'pipe', 'ignore'] });
  const exited = once(child, 'exit');
  const [line] = z.array(z.string()).parse(await once(createInterface({ input: child.stdout }), 'line'));
  const cloud = addresses.parse(JSON.parse(line ?? ''));
  const { managementUrl, apiUrl, apiKey } = cloud;
  const client = createRunPodManagement({ apiKey, baseUrl: managementUrl });
  const ask = async (url: string, method: string, body: unknown): Promise<unknown> => {
    const response = await fetch(url, {
      method,
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  };
  const control: LocalRunPod['control'] = (method, route, body) =>
    ask(`${managementUrl.replace(/\/v2$/, '')}/_local/${route}`, method, body);
  return {
    client,
    managementUrl,
    apiKey,
    environment: (key = apiKey) => ({
      modal: { workspace: 'w', proxyKey: 'k', proxySecret: 's', serverUrl: apiUrl, webUrl: apiUrl },
      runpod: { ...cloud, apiKey: key },
      environment: { RUNPOD_MANAGEMENT_URL: managementUrl },
    }),
    send: async (method, route, body) =>
      z.record(z.string(), z.unknown()).parse(await ask(`${managementUrl}/${route}`, method, body)),
    control,
    async writes() {
      const { requests } = journal.parse(await control('GET', 'requests'));
      await control('DELETE', 'requests');
      return requests
        .filter(({ method }) => method !== 'GET')
        .map(({ method, path: route, body }) => ({ request: `${method} ${route}`, body }));
    },
    async [Symbol.asyncDispose]() {
      await client.close();
      child.stdin.end();
      await exited;
    },
  };
}
