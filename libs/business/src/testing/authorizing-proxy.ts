import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import type { Duplex } from 'node:stream';

/** A reverse proxy of this process. */
export interface AuthorizingProxy extends AsyncDisposable {
  /** Address without a slash at its end. */
  readonly url: string;
  /** Breaks the connections of all WebSockets. */
  dropSockets(): void;
}

/**
 * A proxy in front of a server that knows no credentials itself, such as ComfyUI: it lets in whoever sends the given
 * `authorization`, WebSockets included, and answers others with 401.
 */
export async function authorizingProxy(target: string, authorization: string): Promise<AuthorizingProxy> {
  const origin = new URL(target);
  const sockets = new Set<Duplex>();
  const forwarded = ({ method, url, headers }: IncomingMessage): ReturnType<typeof request> =>
    request({
      host: origin.hostname,
      port: origin.port,
      ...(method === undefined ? {} : { method }),
      path: url ?? '/',
      headers: { ...headers, host: origin.host },
    });
  const server = createServer((incoming, response) => {
    if (incoming.headers.authorization !== authorization) {
      incoming.resume();
      response.writeHead(401).end('unauthorized');
      return;
    }
    const outgoing = forwarded(incoming);
    outgoing.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('error', () => response.destroy());
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  });
  server.on('upgrade', (incoming: IncomingMessage, socket: Duplex, sent: Buffer) => {
    socket.on('error', () => socket.destroy());
    if (incoming.headers.authorization !== authorization) {
      socket.end('HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    const outgoing = forwarded(incoming);
    outgoing.on('upgrade', (answer, upstream, received) => {
      const headers = Object.entries(answer.headers).map(([name, value]) => `${name}: ${String(value)}`);
      socket.write(['HTTP/1.1 101 Switching Protocols', ...headers, '', ''].join('\r\n'));
      // What came with the headers already belongs to the WebSocket.
      socket.write(received);
      upstream.write(sent);
      for (const [from, to] of [
        [socket, upstream],
        [upstream, socket],
      ] as const) {
        from.pipe(to);
        from.on('error', () => to.destroy());
        from.on('close', () => to.destroy());
      }
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
    outgoing.on('error', () => socket.destroy());
    outgoing.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The server has no port.');
  return {
    url: `http://127.0.0.1:${address.port}`,
    dropSockets: () => {
      for (const socket of sockets) socket.destroy();
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}
