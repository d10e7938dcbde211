import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import type { JobMetrics } from '../job.ts';
import { type HttpStandIn, httpStandIn, json, type ReceivedRequest } from './http-stand-in.ts';

/** A job that the stand-in took. */
interface TakenJob {
  readonly id: string;
  readonly workflow: Readonly<Record<string, { class_type: string; inputs: Record<string, unknown> }>>;
  status: string;
  error?: unknown;
}

/** Options of {@link comfyApiStandIn}. */
export interface ComfyApiStandInOptions {
  /** The token that it takes. */
  readonly token: string;
  /** What every SaveImage node makes. */
  readonly picture: Uint8Array;
  /** Path in front of /api/v2, as a mount prefix. */
  readonly prefix?: string;
  /** What the worker measures of every job, as our gateway tells it. */
  readonly metrics?: JobMetrics;
}

/**
 * Comfy API v2 as far as the adapters use it, in this process: every job has ended when it is first asked about. For
 * unit tests and benchmarks; the local clouds run the real gateway.
 */
export async function comfyApiStandIn(options: ComfyApiStandInOptions): Promise<HttpStandIn> {
  const { token, picture, prefix = '', metrics = null } = options;
  const jobs = new Map<string, TakenJob>();
  const assets = new Map<string, Buffer>();

  function failureOf(job: TakenJob['workflow']): unknown {
    for (const [nodeId, { class_type, inputs }] of Object.entries(job)) {
      const image = inputs['image'];
      if (class_type !== 'LoadImage' || typeof image !== 'object' || image === null) continue;
      const text = JSON.stringify(image);
      const content = [...assets].find(([id]) => text.includes(id))?.[1];
      if (content?.includes('PNG') === true) continue;
      const message = 'cannot identify image file';
      return { code: 'node_execution_error', message, node_id: nodeId, class_type };
    }
    return undefined;
  }

  function outputsOf(job: TakenJob): readonly object[] {
    if (job.status !== 'succeeded') return [];
    const saves = Object.entries(job.workflow).filter(([, node]) => node.class_type === 'SaveImage');
    return saves.map(([nodeId]) => ({
      node_id: nodeId,
      name: `${nodeId}_00001_.png`,
      type: 'image',
      content_type: 'image/png',
      size_bytes: picture.length,
      id: `output-${nodeId}`,
      hash: null,
      url: `${prefix}/api/v2/assets/output-${nodeId}/content`,
      url_expires_at: null,
    }));
  }

  const toJson = (job: TakenJob): object => ({
    id: job.id,
    status: job.status,
    queue_position: null,
    progress: null,
    outputs: outputsOf(job),
    error: job.error ?? null,
    metrics: { queue_ms: 1, cold_start_ms: 0, execution_ms: 2 },
    urls: {
      self: `${prefix}/api/v2/jobs/${job.id}`,
      cancel: `${prefix}/api/v2/jobs/${job.id}/cancel`,
      events: `${prefix}/api/v2/jobs/${job.id}/events`,
    },
  });

  function take(
    request: ReceivedRequest,
    refuse: (status: number, code: string, details?: unknown) => unknown,
  ) {
    const { workflow } = JSON.parse(request.body.toString()) as Pick<TakenJob, 'workflow'>;
    const unknown = Object.entries(workflow).find(([, node]) => node.class_type === 'NoSuchNode');
    if (unknown !== undefined) {
      refuse(422, 'invalid_workflow', { node_errors: { [unknown[0]]: { class_type: 'NoSuchNode' } } });
      return undefined;
    }
    const id = String(request.headers['ryla-job-id'] ?? randomUUID());
    if (jobs.has(id)) {
      refuse(422, 'idempotency_key_reuse');
      return undefined;
    }
    const error = failureOf(workflow);
    const job: TakenJob = { id, workflow, status: error === undefined ? 'succeeded' : 'failed', error };
    jobs.set(id, job);
    return job;
  }

  return httpStandIn((request, response) => {
    const refuse = (status: number, code: string, details?: unknown): ServerResponse =>
      json(response, status, { error: { code, message: `refused: ${code}`, details } });
    if (request.headers.authorization !== `Bearer ${token}`) return refuse(401, 'unauthorized');
    const path = request.path.startsWith(prefix) ? request.path.slice(prefix.length) : '';
    const jobId = /^\/api\/(?:v2|ryla)\/jobs\/([^/]+)/.exec(path)?.[1] ?? '';
    const job = jobs.get(jobId);
    if (path === '/api/v2/jobs') {
      const taken = take(request, refuse);
      return taken === undefined ? undefined : json(response, 201, toJson(taken));
    }
    if (path === '/api/v2/assets') {
      const id = randomUUID();
      assets.set(id, request.body);
      return json(response, 201, { id });
    }
    if (/^\/api\/v2\/assets\/output-[^/]+\/content$/.test(path)) {
      response.writeHead(200, { 'content-length': picture.length }).end(picture);
      return undefined;
    }
    if (job === undefined) return refuse(404, 'not_found');
    if (path.startsWith('/api/ryla/')) return json(response, 200, { job: toJson(job), metrics });
    if (!path.endsWith('/events')) return json(response, 200, toJson(job));
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const output of outputsOf(job)) response.write(`event: output\ndata: ${JSON.stringify(output)}\n\n`);
    response.end(`event: status\ndata: ${JSON.stringify({ status: job.status })}\n\n`);
    return undefined;
  });
}
