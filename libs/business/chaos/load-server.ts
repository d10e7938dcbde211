/**
 * One RunPod endpoint with its real limits, for load.ts: jobs wait until they are told to end, then end at an even rate, each
 * with its webhook. A process of its own, so that only the service's memory is measured. Speaks by its standard output.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import process from 'node:process';

import { request } from 'undici';

/** Per 10 s, as RunPod publishes them. */
const LIMITS = { run: 1_000, status: 2_000 } as const;
const WINDOW_MS = 10_000;

const rate = Number(process.argv[2] ?? '200');
const calls: Record<keyof typeof LIMITS, number[]> = { run: [], status: [] };
const jobs = new Map<
  string,
  { readonly key: string; readonly webhook: string | undefined; ended: boolean }
>();
let refused = 0;

function allowed(operation: keyof typeof LIMITS): boolean {
  const now = performance.now();
  const recent = calls[operation];
  while ((recent[0] ?? now) <= now - WINDOW_MS) recent.shift();
  recent.push(now);
  if (recent.length <= LIMITS[operation]) return true;
  refused += 1;
  return false;
}

const server = createServer((incoming, response) => {
  const answer = (status: number, body: object): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  const pieces: Buffer[] = [];
  incoming.on('data', (piece: Buffer) => pieces.push(piece));
  incoming.on('end', () => {
    const path = incoming.url ?? '';
    if (path === '/_end') {
      answer(200, {});
      endAll();
      return;
    }
    if (path === '/_refused') {
      answer(200, { refused });
      return;
    }
    if (path.endsWith('/run')) {
      if (!allowed('run')) {
        answer(429, { error: 'too many requests' });
        return;
      }
      const { input, webhook } = JSON.parse(Buffer.concat(pieces).toString()) as {
        readonly input: { readonly jobId: string };
        readonly webhook?: string;
      };
      const id = randomUUID();
      jobs.set(id, { key: input.jobId, webhook, ended: false });
      answer(200, { id, status: 'IN_QUEUE' });
      return;
    }
    if (!allowed('status')) {
      answer(429, { error: 'too many requests' });
      return;
    }
    const id = path.split('/').at(-1) ?? '';
    const job = jobs.get(id);
    if (job === undefined) answer(404, { error: 'job not found' });
    else if (job.ended)
      answer(200, { id, status: 'COMPLETED', delayTime: 1, executionTime: 2, output: { images: [] } });
    else answer(200, { id, status: 'IN_PROGRESS' });
  });
});

/** Ends every job, so many a second; says when each webhook was sent. */
function endAll(): void {
  const waiting = [...jobs];
  const startedAt = performance.now();
  let next = 0;
  const timer = setInterval(() => {
    const due = Math.min(waiting.length, Math.floor(((performance.now() - startedAt) / 1000) * rate));
    for (; next < due; next += 1) {
      const [id, job] = waiting[next] ?? [];
      if (id === undefined || job === undefined) continue;
      job.ended = true;
      process.stdout.write(`${job.key} ${Date.now()}\n`);
      if (job.webhook !== undefined) void notify(job.webhook, id);
    }
    if (next >= waiting.length) clearInterval(timer);
  }, 5);
}

async function notify(url: string, id: string): Promise<void> {
  const body = JSON.stringify({ id, status: 'COMPLETED', output: { images: [] } });
  const response = await request(url, { method: 'POST', body });
  await response.body.dump();
}

server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.stdout.write(`http://127.0.0.1:${typeof address === 'object' ? (address?.port ?? 0) : 0}\n`);
});
process.stdin.on('end', () => process.exit());
process.stdin.resume();
