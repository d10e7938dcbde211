import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/** A request that a stand-in received. */
export interface ReceivedRequest {
  readonly method: string;
  /** Path with the query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** A server of this process that answers as a backend would. */
export interface HttpStandIn extends AsyncDisposable {
  /** Address without a slash at its end. */
  readonly url: string;
  /** All that it received, oldest first. */
  readonly received: ReceivedRequest[];
}

/** Starts a server on a free port of 127.0.0.1. Disposing it also cuts open connections. */
export async function httpStandIn(
  answer: (request: ReceivedRequest, response: ServerResponse) => unknown,
  /** Takes over connections that ask for another protocol, such as WebSocket; without it they are answered as others. */
  upgrade?: (request: IncomingMessage, socket: Duplex) => void,
): Promise<HttpStandIn> {
  const upgraded = new Set<Duplex>();
  const received: ReceivedRequest[] = [];
  const server = createServer((incoming, response) => {
    const pieces: Buffer[] = [];
    incoming.on('data', (piece: Buffer) => pieces.push(piece));
    incoming.on('end', () => {
      const { method = 'GET', url: path = '/', headers } = incoming;
      const request = { method, path, headers, body: Buffer.concat(pieces) };
      received.push(request);
      answer(request, response);
    });
  });
  if (upgrade !== undefined) {
    server.on('upgrade', (request, socket) => {
      upgraded.add(socket);
      socket.on('close', () => upgraded.delete(socket));
      socket.on('error', () => socket.destroy());
      upgrade(request, socket);
    });
  }
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The server has no port.');
  return {
    url: `http://127.0.0.1:${address.port}`,
    received,
    async [Symbol.asyncDispose]() {
      for (const socket of upgraded) socket.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Answers with JSON. */
export function json(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): ServerResponse {
  return response
    .writeHead(status, { 'content-type': 'application/json', ...headers })
    .end(JSON.stringify(body));
}
