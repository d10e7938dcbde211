/**
 * The application of load.ts, a process of its own: submits its jobs, waits for all of them, and prints how soon it noticed,
 * its memory, and every 429. Arguments: jobs, completions a second.
 */
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import process from 'node:process';
import { createInterface } from 'node:readline';

import { request } from 'undici';
import { z } from 'zod';

import { type ComfyUIService, createComfyUIService, memoryJobStore, runpod } from '../src/index.ts';
import { createWebhookHandler, createWebhookSecret, nodeListener } from '../src/webhooks/index.ts';
import { workflow } from './workflow.ts';

const [, , jobs = '', rate = ''] = process.argv;
const count = Number(jobs);

const server = spawn(process.execPath, [new URL('load-server.ts', import.meta.url).pathname, rate], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const endedAt = new Map<string, number>();
const lines = createInterface({ input: server.stdout });
const url = await new Promise<string>((resolve) => lines.once('line', resolve));
lines.on('line', (line) => {
  const [id = '', at = ''] = line.split(' ');
  endedAt.set(id, Number(at));
});

const secret = createWebhookSecret();
const store = memoryJobStore();
const listener = createServer(
  nodeListener(
    createWebhookHandler({
      path: '/webhooks',
      runpodSecrets: [secret],
      rememberDelivery: (id) => store.rememberDelivery(id),
      onNotice: (notice) => service.notice(notice),
    }),
  ),
).listen(0, '127.0.0.1');
await new Promise((resolve) => listener.once('listening', resolve));
const address = listener.address();
const port = typeof address === 'object' && address !== null ? address.port : 0;
const service: ComfyUIService = createComfyUIService({
  adapters: { runpod: runpod({ apiUrl: `${url}/v2`, endpointId: 'e', apiKey: 'k' }) },
  store,
  webhooks: { incomingUrl: `http://127.0.0.1:${port}/webhooks`, incomingSecrets: [secret] },
});

const heap = (): number => Math.round(process.memoryUsage().heapUsed / 1024 / 1024);
const resident = (): number => Math.round(process.memoryUsage.rss() / 1024 / 1024);
const before = resident();
const startedAt = performance.now();
const noticed = new Map<string, number>();
const waiting: Promise<void>[] = [];
let failures = 0;
let begun = 0;
const submitter = async (): Promise<void> => {
  while (begun < count) {
    begun += 1;
    const job = await service.submitWorkflow({ workflow });
    const { id } = job;
    const waited = job.wait().then(
      ({ status }) => {
        noticed.set(id, Date.now());
        if (status !== 'succeeded') failures += 1;
      },
      () => {
        failures += 1;
      },
    );
    waiting.push(waited);
  }
};
await Promise.all(Array.from({ length: 50 }, submitter));
const submittedMs = performance.now() - startedAt;
const inFlight = resident();
const heapInFlight = heap();
console.log(
  `${count} jobs in flight after ${(submittedMs / 1000).toFixed(0)} s; resident ${inFlight} MiB (${before} MiB before)`,
);
let most = inFlight;
const sampler = setInterval(() => (most = Math.max(most, resident())), 200);
await (await request(`${url}/_end`, { method: 'POST' })).body.dump();
await Promise.all(waiting);
clearInterval(sampler);
const delays = [...noticed].map(([id, at]) => at - (endedAt.get(id) ?? at)).sort((a, b) => a - b);
const quantile = (share: number): number =>
  delays[Math.min(delays.length - 1, Math.floor(share * delays.length))] ?? NaN;
const { refused } = z
  .object({ refused: z.number() })
  .parse(await (await request(`${url}/_refused`)).body.json());
console.log(
  JSON.stringify({
    jobs: count,
    rate: Number(rate),
    noticedMs: { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99), most: delays.at(-1) },
    residentMiB: { before, inFlight, most },
    heapMiB: heapInFlight,
    answers429: refused,
    failures,
  }),
);
await service.close();
listener.closeAllConnections();
listener.close();
server.stdin.end();
process.exit(refused === 0 && failures === 0 ? 0 : 1);
