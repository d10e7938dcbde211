import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import { type HttpStandIn, httpStandIn, json } from './http-stand-in.ts';

/** Options of {@link generateImageStandIn}. */
export interface GenerateImageStandInOptions {
  /** The token that it takes. */
  readonly token: string;
  /** What every SaveImage node makes. */
  readonly picture: Uint8Array;
  /** How often a call is cut with a 303 before it is answered, as Modal does after 150 s. Default 0. */
  readonly cuts?: number;
  /** Called when a caller hangs up before the answer. */
  readonly onHangUp?: () => void;
  /** Whether calls are never answered. */
  readonly isSilent?: boolean;
}

type Nodes = Readonly<Record<string, { readonly class_type: string }>>;

/** The function `generate_image` of a Modal app, in this process. */
export async function generateImageStandIn(options: GenerateImageStandInOptions): Promise<HttpStandIn> {
  const { token, picture, cuts = 0 } = options;
  const calls = new Map<string, { readonly nodes: Nodes; cut: number }>();

  function answer(id: string, nodes: Nodes, response: ServerResponse): ServerResponse {
    const unknown = Object.entries(nodes).find(([, node]) => node.class_type === 'NoSuchNode')?.[0];
    if (unknown !== undefined) {
      const message = `Node ${unknown}: NoSuchNode does not exist.`;
      return json(response, 422, {
        error: { code: 'invalid_workflow', message, details: { node_id: unknown } },
      });
    }
    const broken = Object.entries(nodes).find(([, node]) => node.class_type === 'Broken')?.[0];
    if (broken !== undefined) {
      const details = { jobId: id, node_id: broken };
      return json(response, 500, { error: { code: 'out_of_memory', message: 'too large', details } });
    }
    const saves = Object.keys(nodes).filter((node) => nodes[node]?.class_type === 'SaveImage');
    const data = Buffer.from(picture).toString('base64');
    const images = saves.map((nodeId) => ({
      filename: `${nodeId}_00001_.png`,
      contentType: 'image/png',
      nodeId,
      data,
    }));
    return json(response, 200, { image: images[0]?.data ?? null, images, jobId: id });
  }

  return httpStandIn((request, response) => {
    if (request.headers.authorization !== `Bearer ${token}`)
      return json(response, 401, { error: { code: 'unauthorized', message: 'wrong token' } });
    response.on('close', () => {
      if (!response.writableFinished) options.onHangUp?.();
    });
    if (options.isSilent === true) return undefined;
    let id = new URL(request.path, 'http://localhost').searchParams.get('__modal_function_call_id');
    if (id === null) {
      id = `fc-${randomUUID()}`;
      const { workflow_json: nodes } = JSON.parse(request.body.toString()) as {
        workflow_json: Nodes | string;
      };
      calls.set(id, { nodes: typeof nodes === 'string' ? (JSON.parse(nodes) as Nodes) : nodes, cut: 0 });
    }
    const call = calls.get(id);
    if (call === undefined) return json(response, 404, {});
    if (call.cut++ < cuts) {
      const location = `/?__modal_function_call_id=${id}`;
      return response.writeHead(303, { location }).end();
    }
    return answer(id, call.nodes, response);
  });
}
