import { randomUUID } from 'node:crypto';

import type { JobMetrics } from '../job.ts';
import { type HttpStandIn, httpStandIn, json } from './http-stand-in.ts';

/** Options of {@link runpodStandIn}. */
export interface RunPodStandInOptions {
  readonly apiKey: string;
  /** What every SaveImage node makes. */
  readonly picture: Uint8Array;
  /** What the worker measures of every job; nothing without it, as the community's worker does. */
  readonly metrics?: JobMetrics;
}

interface Input {
  readonly workflow: Readonly<Record<string, { class_type: string }>>;
  readonly images: readonly { readonly name: string; readonly image: string }[];
}

/**
 * RunPod's job API as far as the adapter uses it, in this process: every job has ended when it is first asked about,
 * with an envelope as our worker makes it. For unit tests and benchmarks.
 */
export async function runpodStandIn({
  apiKey,
  picture,
  metrics,
}: RunPodStandInOptions): Promise<HttpStandIn> {
  const jobs = new Map<string, object>();
  const data = Buffer.from(picture).toString('base64');

  function envelope(id: string, { workflow, images }: Input): object {
    const failed = (error: object): object => ({ id, status: 'FAILED', error: JSON.stringify(error) });
    for (const [nodeId, { class_type: classType }] of Object.entries(workflow)) {
      if (classType === 'NoSuchNode')
        return failed({ code: 'invalid_workflow', message: `NoSuchNode (${nodeId})`, nodeId, classType });
      const isBroken = images.some(({ image }) => !Buffer.from(image, 'base64').includes('PNG'));
      if (classType === 'LoadImage' && isBroken)
        return failed({ code: 'node_execution_error', message: 'cannot identify image', nodeId, classType });
    }
    const saves = Object.entries(workflow).filter(([, node]) => node.class_type === 'SaveImage');
    const pictures = saves.map(([nodeId]) => {
      const description = { filename: `${nodeId}_00001_.png`, kind: 'image', contentType: 'image/png' };
      return { ...description, type: 'base64', data, nodeId, size: picture.length };
    });
    const output = { images: pictures, files: [], timings: { bootMs: 0 }, metrics };
    return { id, status: 'COMPLETED', delayTime: 1, executionTime: 2, output };
  }

  return httpStandIn((request, response) => {
    if (request.headers.authorization !== `Bearer ${apiKey}`)
      return json(response, 401, { error: 'unauthorized' });
    if (request.path.endsWith('/run')) {
      const id = randomUUID();
      const { input } = JSON.parse(request.body.toString()) as { readonly input: Input };
      jobs.set(id, envelope(id, input));
      return json(response, 200, { id, status: 'IN_QUEUE' });
    }
    const job = jobs.get(request.path.split('/').at(-1) ?? '');
    return job === undefined ? json(response, 404, { error: 'job not found' }) : json(response, 200, job);
  });
}
