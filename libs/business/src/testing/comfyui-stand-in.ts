import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

import { type HttpStandIn, httpStandIn, json, type ReceivedRequest } from './http-stand-in.ts';
import { acceptWebSocket, sendWebSocket } from './web-socket.ts';

/** Options of {@link comfyuiStandIn}. */
export interface ComfyUIStandInOptions {
  /** What every SaveImage node makes. */
  readonly picture: Uint8Array;
  /** Value of `authorization` that it asks for, as a proxy in front of ComfyUI would; none without it. */
  readonly authorization?: string;
  /** Whether prompts wait for {@link ComfyUIStandIn.runNext}. Default false: they run at once. */
  readonly held?: boolean;
}

/** A ComfyUI of this process. */
export interface ComfyUIStandIn extends HttpStandIn {
  /** Runs the first prompt of the queue, if there is one. */
  runNext(): void;
  /** Makes the first prompt of the queue the running one; {@link runNext} ends it. */
  startNext(): void;
  /** Sends a message to the sockets of all clients. */
  say(message: object | Uint8Array): void;
  /** Breaks the sockets of all clients. */
  dropSockets(): void;
  /** Forgets the queue and the history, as a restart does. */
  restart(): void;
  /** Times that each prompt ran. */
  readonly runs: ReadonlyMap<string, number>;
}

type Nodes = Readonly<
  Record<string, { readonly class_type: string; readonly inputs: Record<string, unknown> }>
>;

interface Prompt {
  readonly number: number;
  readonly id: string;
  readonly nodes: Nodes;
}

/**
 * ComfyUI as far as the adapter uses it, in this process: its queue, history, files and messages, and no nodes: a
 * SaveImage makes always the same picture. For unit tests; comfy-sim runs nodes for real.
 */
export async function comfyuiStandIn(options: ComfyUIStandInOptions): Promise<ComfyUIStandIn> {
  const sockets = new Map<string, Duplex>();
  const history = new Map<string, object>();
  const files = new Map<string, Buffer>();
  const runs = new Map<string, number>();
  const pending: Prompt[] = [];
  let running: Prompt | undefined;
  let number = 0;

  const isAllowed = ({ headers }: { readonly headers: IncomingMessage['headers'] }): boolean =>
    options.authorization === undefined || headers.authorization === options.authorization;

  function say(message: object | Uint8Array): void {
    const payload = message instanceof Uint8Array ? message : JSON.stringify(message);
    for (const socket of sockets.values()) sendWebSocket(socket, payload);
  }

  const tell = (type: string, data: object): void => say({ type, data });

  function startNext(): void {
    running ??= pending.shift();
    if (running === undefined) return;
    tell('execution_start', { prompt_id: running.id, timestamp: Date.now() });
    tell('execution_cached', { prompt_id: running.id, nodes: [], timestamp: Date.now() });
  }

  function runNext(): void {
    startNext();
    if (running === undefined) return;
    const { id, nodes } = running;
    runs.set(id, (runs.get(id) ?? 0) + 1);
    const messages: [string, object][] = [['execution_start', { prompt_id: id, timestamp: 1_000 }]];
    const outputs: Record<string, object> = {};
    const broken = Object.entries(nodes).find(([, node]) => isBroken(node));
    for (const [node, { class_type }] of broken === undefined ? Object.entries(nodes) : []) {
      tell('executing', { node, display_node: node, prompt_id: id });
      if (class_type !== 'SaveImage') continue;
      const output = { images: [{ filename: `${node}_00001_.png`, subfolder: 'sub/dir', type: 'output' }] };
      outputs[node] = output;
      tell('executed', { node, output, prompt_id: id });
    }
    if (broken !== undefined) {
      const [node_id, { class_type }] = broken;
      const cause = {
        exception_message: 'cannot identify image file\n',
        exception_type: 'PIL.UnidentifiedImageError',
      };
      messages.push([
        'execution_error',
        { prompt_id: id, node_id, node_type: class_type, ...cause, timestamp: 1_020 },
      ]);
    } else messages.push(['execution_success', { prompt_id: id, timestamp: 1_020 }]);
    const status_str = broken === undefined ? 'success' : 'error';
    finish(id, { outputs, status: { status_str, completed: broken === undefined, messages } });
  }

  function isBroken({ class_type, inputs }: Nodes[string]): boolean {
    return class_type === 'LoadImage' && files.get(String(inputs['image']))?.includes('PNG') === false;
  }

  function finish(id: string, entry: object): void {
    running = undefined;
    history.set(id, entry);
    tell('executing', { node: null, prompt_id: id });
  }

  function take(request: ReceivedRequest, response: ServerResponse): ServerResponse {
    const { prompt, prompt_id: id = randomUUID() } = JSON.parse(request.body.toString()) as {
      prompt: Nodes;
      prompt_id?: string;
    };
    const unknown = Object.entries(prompt).find(([, node]) => node.class_type === 'NoSuchNode')?.[0];
    if (unknown !== undefined) {
      const message = 'Cannot execute because node NoSuchNode does not exist.';
      const error = { type: 'invalid_prompt', message, details: `Node ID '#${unknown}'`, extra_info: {} };
      return json(response, 400, { error, node_errors: {} });
    }
    const missing = Object.entries(prompt).find(
      ([, node]) => node.class_type === 'LoadImage' && !files.has(String(node.inputs['image'])),
    );
    if (missing !== undefined) {
      const details = `image - Invalid image file: ${String(missing[1].inputs['image'])}`;
      const errors = [
        { type: 'custom_validation_failed', message: 'Custom validation failed for node', details },
      ];
      const error = {
        type: 'prompt_outputs_failed_validation',
        message: 'Prompt outputs failed validation',
        details: '',
      };
      const node_errors = { [missing[0]]: { errors, dependent_outputs: [], class_type: 'LoadImage' } };
      return json(response, 400, { error, node_errors });
    }
    pending.push({ number: number++, id, nodes: prompt });
    if (options.held !== true) runNext();
    return json(response, 200, { prompt_id: id, number, node_errors: {} });
  }

  function store({ headers, body }: ReceivedRequest, response: ServerResponse): ServerResponse {
    const boundary = /boundary=(.+)$/.exec(headers['content-type'] ?? '')?.[1] ?? '';
    const name = /filename="([^"]+)"/.exec(body.toString('latin1'))?.[1] ?? '';
    const start = body.indexOf('\r\n\r\n', body.indexOf('filename=')) + 4;
    files.set(name, body.subarray(start, body.lastIndexOf(`\r\n--${boundary}`)));
    return json(response, 200, { name, subfolder: '', type: 'input' });
  }

  function control(path: string, { body }: ReceivedRequest): void {
    const { delete: ids, prompt_id } = JSON.parse(body.toString()) as {
      delete?: string[];
      prompt_id?: string;
    };
    if (path === '/queue') {
      for (const id of ids ?? []) {
        const index = pending.findIndex((prompt) => prompt.id === id);
        if (index >= 0) pending.splice(index, 1);
      }
    } else if (running !== undefined && running.id === prompt_id) {
      const messages = [['execution_interrupted', { prompt_id, node_id: '1', node_type: 'X', executed: [] }]];
      finish(running.id, { outputs: {}, status: { status_str: 'error', completed: false, messages } });
    }
  }

  const standIn = await httpStandIn(
    (request, response) => {
      if (!isAllowed(request)) return response.writeHead(401).end('who are you?');
      const path = request.path.replace(/\?.*$/, '');
      const entry = (prompt: Prompt): unknown[] => [prompt.number, prompt.id, prompt.nodes, {}, []];
      if (path === '/prompt') return take(request, response);
      if (path === '/upload/image') return store(request, response);
      if (path === '/queue' && request.method === 'GET') {
        const queue_running = running === undefined ? [] : [entry(running)];
        return json(response, 200, { queue_running, queue_pending: pending.map(entry).reverse() });
      }
      if (path === '/queue' || path === '/interrupt') {
        control(path, request);
        return response.end();
      }
      if (path === '/view') return response.writeHead(200, { etag: '"1"' }).end(options.picture);
      const id = /^\/history\/(.+)$/.exec(path)?.[1];
      if (id === undefined) return response.writeHead(404).end();
      return json(response, 200, history.has(id) ? { [id]: history.get(id) } : {});
    },
    (request, socket) => {
      if (!isAllowed(request)) {
        socket.end('HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n');
        return;
      }
      acceptWebSocket(request, socket);
      const client = new URL(request.url ?? '', 'http://localhost').searchParams.get('clientId') ?? '';
      sockets.set(client, socket);
      socket.on('close', () => {
        if (sockets.get(client) === socket) sockets.delete(client);
      });
    },
  );
  return {
    ...standIn,
    [Symbol.asyncDispose]: () => standIn[Symbol.asyncDispose](),
    runs,
    say,
    startNext,
    runNext,
    dropSockets: () => {
      for (const socket of sockets.values()) socket.destroy();
    },
    restart: () => {
      running = undefined;
      pending.length = 0;
      history.clear();
    },
  };
}
