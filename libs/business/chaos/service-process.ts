/**
 * A service as an application runs it, to be killed: submits jobs and prints a line for each that was acknowledged.
 * Arguments: SQLite file, address of the backends, `submit` or `drain`, how many times as fast time runs.
 */
import { randomUUID } from 'node:crypto';
import { writeSync } from 'node:fs';
import process from 'node:process';

import { comfyApi, ComfyUIServiceError, createComfyUIService, runpod, sqliteJobStore } from '../src/index.ts';
import { fastClock } from './fast-clock.ts';
import { workflow } from './workflow.ts';

process.stdin
  .resume()
  .once('end', () => process.exit(1))
  .unref();

const [, , path = '', url = '', mode = 'submit', factor = ''] = process.argv;
/** Leases run out as much faster: at 100 whatever a killed service held is free within a third of a second. */
const speed = Number(factor);
const clock = fastClock(speed, Math.random);
const store = await sqliteJobStore({ path, clock: { now: () => Math.trunc(Date.now() * speed) } });
const service = createComfyUIService({
  adapters: {
    runpod: runpod({ apiUrl: `${url}/v2`, endpointId: 'e', apiKey: 'k', claims: true }),
    comfy: comfyApi({ baseUrl: url, lookup: true }),
  },
  routes: {
    default: [
      { backend: 'runpod', weight: 1 },
      { backend: 'comfy', weight: 1 },
    ],
  },
  store,
  restarts: 3,
  clock,
});

if (mode === 'submit') {
  const caller = async (): Promise<void> => {
    for (;;) {
      const jobId = randomUUID();
      try {
        const job = await service.submitWorkflow({ workflow }, { jobId });
        writeSync(1, `${jobId}\n`);
        await job.wait();
      } catch (error) {
        // Refused, or its fate is unknown: nothing was promised.
        if (!ComfyUIServiceError.isInstance(error)) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, caller));
}

// Drain: everything that is not over is looked after until it is.
for (;;) {
  await service.recover();
  const { queued, running, canceling } = await store.count();
  if (queued + running + canceling === 0) break;
  await new Promise((resolve) => setTimeout(resolve, 50));
}
await service.close();
