import { randomUUID } from 'node:crypto';
import { createServer, type Server as HttpServer } from 'node:http';

import {
  localhostHostValidation,
  localhostOriginValidation,
  toNodeHandler,
} from '@modelcontextprotocol/node';
import {
  createMcpHandler,
  isLegacyRequest,
  type McpServer,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server';

import { isAuthorized } from './bearer-token.ts';

/** Path of the protocol. */
export const MCP_PATH = '/mcp';

/** Bytes of one message at most: an image as a data: URI is in it. */
export const MAXIMUM_MESSAGE_BYTES = 32 * 1024 * 1024;

/** Sessions of clients of the revisions before 2026-07-28 at most; beyond, the one that began first ends. */
const MOST_SESSIONS = 64;

/** Milliseconds between comments that keep a stream open while a job runs. */
const KEEP_ALIVE_MS = 15_000;

/** Options of {@link listenHttp}. */
export interface HttpEndpointOptions {
  /** 0 for any that is free. */
  readonly port: number;
  readonly token: string;
  /** A server for one connection. */
  readonly server: () => McpServer;
  readonly onProblem: (error: unknown) => void;
}

/** A listening endpoint. */
export interface HttpEndpoint {
  readonly url: string;
  /** Tells every client that the tools are others now. */
  toolsChanged(): void;
  close(): Promise<void>;
}

interface Session {
  readonly transport: WebStandardStreamableHTTPServerTransport;
  readonly server: McpServer;
}

/** Sessions of clients that begin with `initialize`. */
class Sessions {
  readonly #sessions = new Map<string, Session>();
  readonly #options: HttpEndpointOptions;

  constructor(options: HttpEndpointOptions) {
    this.#options = options;
  }

  async fetch(request: Request): Promise<Response> {
    const id = request.headers.get('mcp-session-id');
    if (id === null) return (await this.#begin()).handleRequest(request);
    const session = this.#sessions.get(id);
    if (session !== undefined) return session.transport.handleRequest(request);
    // As the protocol has it: the client then begins anew.
    return Response.json(
      { jsonrpc: '2.0', error: { code: -32_001, message: 'There is no such session.' }, id: null },
      { status: 404 },
    );
  }

  async #begin(): Promise<WebStandardStreamableHTTPServerTransport> {
    const server = this.#options.server();
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => {
        this.#sessions.set(id, { transport, server });
        const [first] = this.#sessions.keys();
        if (this.#sessions.size > MOST_SESSIONS && first !== undefined) this.#end(first);
      },
      onsessionclosed: (id) => this.#end(id),
      keepAliveMs: KEEP_ALIVE_MS,
      maxRequestBodySize: MAXIMUM_MESSAGE_BYTES,
    });
    await server.connect(transport);
    return transport;
  }

  #end(id: string): void {
    const session = this.#sessions.get(id);
    this.#sessions.delete(id);
    session?.server.close().catch(this.#options.onProblem);
  }

  toolsChanged(): void {
    for (const { server } of this.#sessions.values())
      server.server.sendToolListChanged().catch(this.#options.onProblem);
  }

  async close(): Promise<void> {
    const servers = [...this.#sessions.values()].map(({ server }) => server.close());
    this.#sessions.clear();
    await Promise.allSettled(servers);
  }
}

/**
 * Listens on 127.0.0.1. A request needs a Host (and Origin, where there is one) of this machine, so that no web page can
 * reach it under a name of its own, and the token.
 *
 * @throws where the port is taken.
 */
export async function listenHttp(options: HttpEndpointOptions): Promise<HttpEndpoint> {
  const { port, token, onProblem } = options;
  const sessions = new Sessions(options);
  const modern = createMcpHandler(options.server, {
    legacy: 'reject',
    keepAliveMs: KEEP_ALIVE_MS,
    maxRequestBodySize: MAXIMUM_MESSAGE_BYTES,
    onerror: onProblem,
  });
  const serve = toNodeHandler(
    {
      fetch: async (request, given) =>
        (await isLegacyRequest(request, undefined, { maxRequestBodySize: MAXIMUM_MESSAGE_BYTES }))
          ? sessions.fetch(request)
          : modern.fetch(request, given),
    },
    { maxRequestBodySize: MAXIMUM_MESSAGE_BYTES, onerror: onProblem },
  );
  const isOurHost = localhostHostValidation();
  const isOurOrigin = localhostOriginValidation();
  const http = createServer((request, response) => {
    if (!isOurHost(request, response) || !isOurOrigin(request, response)) return;
    if (!isAuthorized(request.headers.authorization, token)) {
      response.writeHead(401, { 'www-authenticate': 'Bearer', 'content-type': 'text/plain; charset=utf-8' });
      response.end(
        'The token that `ryla mcp --http` takes is missing or wrong: send Authorization: Bearer <token>.\n',
      );
      return;
    }
    if (request.url?.split('?')[0] !== MCP_PATH) {
      response
        .writeHead(404, { 'content-type': 'text/plain; charset=utf-8' })
        .end(`The protocol is at ${MCP_PATH}.\n`);
      return;
    }
    // Only `exactOptionalPropertyTypes` tells the SDK's type of a request from Node's own.
    serve(request as Parameters<typeof serve>[0], response).catch(onProblem);
  });
  // A job may take as long as its endpoint allows.
  http.requestTimeout = 0;
  const taken = await listening(http, port);
  return {
    url: `http://127.0.0.1:${taken}${MCP_PATH}`,
    toolsChanged() {
      modern.notify.toolsChanged();
      sessions.toolsChanged();
    },
    async close() {
      const closed = new Promise<void>((resolve) => http.close(() => resolve()));
      await Promise.allSettled([modern.close(), sessions.close()]);
      http.closeAllConnections();
      await closed;
    },
  };
}

function listening(http: HttpServer, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    http.once('error', reject);
    http.listen(port, '127.0.0.1', () => {
      const address = http.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}
