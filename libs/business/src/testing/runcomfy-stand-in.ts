import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import { type HttpStandIn, httpStandIn, json, type ReceivedRequest } from './http-stand-in.ts';

type Nodes = Readonly<Record<string, { class_type: string; inputs: Record<string, unknown> }>>;

/** Options of {@link runcomfyStandIn}. */
export interface RunComfyStandInOptions {
  readonly apiKey: string;
  readonly deploymentId: string;
  /** What every SaveImage node makes. */
  readonly picture: Uint8Array;
  /** The workflow that is saved with the deployment, which `overrides` change. */
  readonly saved?: Nodes;
  /** Whether the deployment is switched on. Default true. */
  readonly isEnabled?: boolean;
}

interface Run {
  readonly workflow: Nodes;
  readonly createdAt: string;
  looks: number;
  canceled: boolean;
}

/**
 * RunComfy's serverless API in this process, as its documentation describes it: a request is queued when it is first asked
 * about, in progress the second time, and completed from then on. Outputs lie at addresses that need no key.
 */
export async function runcomfyStandIn(options: RunComfyStandInOptions): Promise<HttpStandIn> {
  const { apiKey, deploymentId, picture, saved, isEnabled = true } = options;
  const runs = new Map<string, Run>();
  let url = '';

  function workflowOf(body: Buffer): Nodes | { readonly problem: string; readonly loc: readonly string[] } {
    const sent = JSON.parse(body.toString()) as { workflow_api_json?: Nodes; overrides?: Nodes };
    if (sent.workflow_api_json !== undefined) return sent.workflow_api_json;
    if (saved === undefined || sent.overrides === undefined)
      return { problem: 'field required', loc: ['body', 'overrides'] };
    const changed: Record<string, Nodes[string]> = { ...saved };
    for (const [nodeId, { inputs }] of Object.entries(sent.overrides)) {
      const node = saved[nodeId];
      if (node === undefined) return { problem: 'no such node', loc: ['body', 'overrides', nodeId] };
      changed[nodeId] = { ...node, inputs: { ...node.inputs, ...inputs } };
    }
    return changed;
  }

  function take({ body, path }: ReceivedRequest, response: ServerResponse): ServerResponse {
    const workflow = workflowOf(body);
    if ('problem' in workflow && typeof workflow.problem === 'string') {
      const detail = [{ loc: workflow.loc, msg: workflow.problem, type: 'value_error' }];
      return json(response, 422, { error_code: 422_001, error_message: 'Validation Error', detail });
    }
    const id = randomUUID();
    const createdAt = new Date().toISOString();
    runs.set(id, { workflow: workflow as Nodes, createdAt, looks: 0, canceled: false });
    const base = `${url}${path.replace(/\/inference.*$/, '')}/requests/${id}`;
    const urls = {
      status_url: `${base}/status`,
      result_url: `${base}/result`,
      cancel_url: `${base}/cancel`,
    };
    return json(response, 202, { request_id: id, ...urls });
  }

  function result(id: string, { workflow, createdAt, canceled }: Run): object {
    const ended = { request_id: id, created_at: createdAt, finished_at: new Date().toISOString() };
    if (canceled) return { ...ended, status: 'cancelled' };
    const nodes = Object.entries(workflow);
    const failed = (error: string, debugInfo: object): object => ({
      ...ended,
      status: 'failed',
      error: [{ errorCode: 20_001, error, debugInfo: JSON.stringify(debugInfo) }],
    });
    for (const [nodeId, { class_type: classType, inputs }] of nodes) {
      if (classType === 'NoSuchNode')
        return failed(
          `invalid prompt: Cannot execute because node ${classType} does not exist.: Node ID '#${nodeId}'`,
          {},
        );
      const image = inputs['image'];
      const isBroken =
        classType === 'LoadImage' &&
        !(typeof image === 'string' && Buffer.from(image.split(',')[1] ?? '', 'base64').includes('PNG'));
      const told = { node_id: nodeId, node_type: classType, exception_message: 'cannot identify image file' };
      if (isBroken) return failed('Workflow execution failed', told);
    }
    const saves = nodes.filter(([, node]) => node.class_type === 'SaveImage');
    const outputs = saves.map(([nodeId]) => {
      const filename = `${nodeId}_00001_.png`;
      const file = { url: `${url}/files/${id}/${filename}`, filename, subfolder: '', type: 'output' };
      return [nodeId, { images: [file] }];
    });
    return { ...ended, status: 'succeeded', outputs: Object.fromEntries(outputs) as object };
  }

  function ask(id: string, run: Run, what: string, response: ServerResponse): ServerResponse {
    const isOver = run.canceled || run.looks > 2;
    switch (what) {
      case 'status': {
        run.looks += 1;
        const ended = run.canceled ? 'cancelled' : 'completed';
        const status = run.looks > 2 || run.canceled ? ended : run.looks === 1 ? 'in_queue' : 'in_progress';
        const position = status === 'in_queue' ? { queue_position: 1 } : {};
        return json(response, 200, { request_id: id, status, ...position });
      }
      case 'result':
        return json(response, 200, isOver ? result(id, run) : { request_id: id, status: 'in_progress' });
      case 'cancel':
        if (isOver) return json(response, 202, { request_id: id, outcome: 'not_cancellable' });
        run.canceled = true;
        return json(response, 202, { request_id: id, outcome: 'cancelled' });
      default:
        return json(response, 404, { error_code: 404_001, error_message: 'Not Found' });
    }
  }

  const standIn = await httpStandIn((request, response) => {
    if (request.path.startsWith('/files/')) {
      if (request.headers.authorization !== undefined) return response.writeHead(400).end();
      return response.writeHead(200, { 'content-length': picture.length }).end(picture);
    }
    if (request.headers.authorization !== `Bearer ${apiKey}`)
      return json(response, 401, { error_code: 401_001, error_message: 'Unauthorized' });
    const notFound = (): ServerResponse =>
      json(response, 404, { error_code: 404_001, error_message: 'Not Found' });
    const { pathname } = new URL(request.path, 'http://localhost');
    const [, version, deployment, rest = ''] =
      /^\/prod\/(v\d)\/deployments\/([^/]+)(?:\/(.*))?$/.exec(pathname) ?? [];
    if (deployment !== deploymentId) return notFound();
    if (version === 'v2' && rest === '')
      return json(response, 200, { id: deploymentId, is_enabled: isEnabled });
    // A refusal that comes with a status of success, as its own clients expect.
    if (!isEnabled) return json(response, 200, { error_code: 10_001, error_message: 'InsufficientFunds' });
    if (rest === 'inference') return take(request, response);
    const [, id = '', what = ''] = /^requests\/([^/]+)\/(\w+)$/.exec(rest) ?? [];
    const run = runs.get(id);
    return run === undefined ? notFound() : ask(id, run, what, response);
  });
  url = standIn.url;
  return standIn;
}
