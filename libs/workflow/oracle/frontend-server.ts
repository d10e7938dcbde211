/** The official frontend as a ComfyUI serves it, with as much of a ComfyUI's API as its page asks for before it works. */
import { createHash } from 'node:crypto';
import { createReadStream, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { Duplex } from 'node:stream';

import type { NodeClass, ObjectInfo } from '../src/index.ts';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
};

/** RFC 6455, section 1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Serves the files of a folder and answers that know the given classes, on a free port of this machine. */
export async function serveFrontend(
  folder: string,
  objectInfo: ObjectInfo,
): Promise<AsyncDisposable & { readonly url: string }> {
  const answers = answersOf(objectInfo);
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    const answer = answers.get(pathname.replace(/^\/api/, ''));
    if (answer !== undefined) sendJson(response, answer);
    else if (pathname.startsWith('/api/')) sendJson(response, '[]');
    else sendFile(folder, pathname, response);
  });
  const sockets = new Set<Duplex>();
  server.on('upgrade', (request, socket) => {
    sockets.add(socket.on('error', () => socket.destroy()));
    acceptWebSocket(request, socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answersOf(objectInfo: ObjectInfo): ReadonlyMap<string, string> {
  const entries: [string, unknown][] = [
    ['/object_info', Object.fromEntries(Object.values(objectInfo).map((one) => [one.name, wholeClass(one)]))],
    ['/users', { storage: 'server', migrated: true }],
    ['/settings', { 'Comfy.TutorialCompleted': true, 'Comfy.Workflow.ShowMissingNodesWarning': false }],
    ['/system_stats', { system: { comfyui_version: '0.3.64', argv: [] }, devices: [] }],
    ['/queue', { queue_running: [], queue_pending: [] }],
    ['/jobs', { jobs: [], pagination: { offset: 0, limit: 1, total: 0, has_more: false } }],
    ...['/i18n', '/features', '/history', '/workflow_templates', '/global_subgraphs'].map(
      (name): [string, unknown] => [name, {}],
    ),
  ];
  return new Map(entries.map(([name, answer]) => [name, JSON.stringify(answer)]));
}

/** A class with what ComfyUI always answers and the built-in catalogue leaves out. */
function wholeClass(nodeClass: NodeClass): object {
  return {
    description: '',
    python_module: 'nodes',
    category: 'other',
    output_is_list: nodeClass.output.map(() => false),
    output_name: nodeClass.output.map((type) => (typeof type === 'string' ? type : 'COMBO')),
    output_node: false,
    display_name: nodeClass.name,
    ...nodeClass,
  };
}

function sendJson(response: ServerResponse, body: string): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(body);
}

function sendFile(folder: string, pathname: string, response: ServerResponse): void {
  const file = path.join(folder, decodeURIComponent(pathname === '/' ? '/index.html' : pathname));
  const isInside = file.startsWith(folder + path.sep);
  if (!isInside || statSync(file, { throwIfNoEntry: false })?.isFile() !== true) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
  createReadStream(file).pipe(response);
}

/** The page wants its socket open; nothing is ever sent on it. */
function acceptWebSocket(request: IncomingMessage, socket: Duplex): void {
  const key = createHash('sha1')
    .update(`${request.headers['sec-websocket-key'] ?? ''}${WEBSOCKET_GUID}`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${key}\r\n\r\n`,
  );
}
