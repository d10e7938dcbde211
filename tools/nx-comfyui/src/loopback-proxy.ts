import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

import { createProxyServer } from 'httpxy';

/** What a {@link startLoopbackProxy} leads to. */
export interface ProxyTarget {
  /** Address of the page, with its path if it has one. */
  readonly url: string;
  /** Sent with every request, such as Modal-Key and Modal-Secret. */
  readonly headers: Readonly<Record<string, string>>;
}

/** A proxy on this machine. */
export interface LoopbackProxy extends AsyncDisposable {
  /** Where a browser finds it, such as `http://127.0.0.1:8188`. */
  readonly url: string;
  /** Milliseconds since a browser last asked for something; an open WebSocket alone does not count. */
  idleMs(): number;
}

/**
 * Starts a proxy on 127.0.0.1 that adds headers which a browser cannot send, to WebSockets too.
 *
 * Pages of other sites, and names that resolve to this machine, are refused: they would act with the credentials.
 *
 * @param port 0 takes a free one.
 * @throws {Error} when the port is taken.
 */
export async function startLoopbackProxy(target: ProxyTarget, port: number): Promise<LoopbackProxy> {
  const to = new URL(target.url);
  const proxy = createProxyServer({
    target: to.href,
    changeOrigin: true,
    autoRewrite: true,
    protocolRewrite: 'http',
    // ComfyUI compares the origin with its own address.
    headers: { ...target.headers, origin: to.origin },
    // Uploads and a cold start take long; the browser gives up by itself.
    proxyTimeout: 0,
  });
  const sockets = new Set<Socket>();
  let lastRequest = Date.now();
  let allowed: ReadonlySet<string> = new Set();

  const server = createServer((request, response) => {
    lastRequest = Date.now();
    if (isForeign(request, allowed)) refuse(response);
    else proxy.web(request, response).catch((error: unknown) => answerFailure(response, error));
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    lastRequest = Date.now();
    socket.on('error', () => socket.destroy());
    if (isForeign(request, allowed)) socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
    else proxy.ws(request, socket, {}, head).catch(() => socket.destroy());
  });
  proxy.on('error', (error, _request, response) => {
    if (response !== undefined && 'writeHead' in response) answerFailure(response, error);
    else response?.destroy();
  });

  const bound = await listen(server, port);
  allowed = new Set([`127.0.0.1:${String(bound)}`, `localhost:${String(bound)}`]);
  return {
    url: `http://127.0.0.1:${String(bound)}`,
    idleMs: () => Date.now() - lastRequest,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** Whether a request comes from a page of another site, or under a name that is not this machine's. */
function isForeign({ headers }: IncomingMessage, allowed: ReadonlySet<string>): boolean {
  if (!allowed.has(headers.host ?? '')) return true;
  const { origin } = headers;
  return origin !== undefined && ![...allowed].some((host) => origin === `http://${host}`);
}

function refuse(response: ServerResponse): void {
  response.writeHead(403, { 'content-type': 'text/plain' });
  response.end('This page is for the browser of this machine, at 127.0.0.1.\n');
}

function answerFailure(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(502, { 'content-type': 'text/plain' });
  response.end(
    `ComfyUI's container does not answer: ${error instanceof Error ? error.message : String(error)}\n`,
  );
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const text = `Port ${String(port)} of this machine cannot be used. Choose another with --port.`;
      reject(new Error(text, { cause }));
    });
    server.listen(port, '127.0.0.1', () => {
      const address = server.address() as AddressInfo;
      resolve(address.port);
    });
  });
}
