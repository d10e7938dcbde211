import process from 'node:process';
import { Writable } from 'node:stream';

import type { McpServer } from '@modelcontextprotocol/server';
import { serveStdio, StdioServerTransport } from '@modelcontextprotocol/server/stdio';

import { MAXIMUM_MESSAGE_BYTES } from './http-endpoint.ts';

/**
 * Takes stdout away from everything else: what libraries or a configuration print goes to stderr from now on. Returns
 * the stream that leads to the real stdout.
 */
export function reserveStdout(): Writable {
  const { stdout, stderr } = process;
  const write = stdout.write.bind(stdout);
  stdout.write = stderr.write.bind(stderr);
  const reserved = new Writable({
    decodeStrings: false,
    write(chunk: string | Uint8Array, _encoding, callback) {
      write(chunk, callback);
    },
  });
  // A client that no longer reads has ended the connection.
  stdout.on('error', (error: Error) => reserved.destroy(error));
  return reserved;
}

/** A connection over stdin and stdout. */
export interface StdioEndpoint {
  /** Resolves when the client has ended the connection. */
  readonly ended: Promise<unknown>;
  /** Tells the client that the tools are others now. */
  toolsChanged(): void;
  close(): Promise<void>;
}

/** Serves the client that started this program. */
export function serveStdin(
  stdout: Writable,
  server: () => McpServer,
  onProblem: (error: unknown) => void,
): StdioEndpoint {
  const { promise: ended, resolve } = Promise.withResolvers<undefined>();
  const transport = new StdioServerTransport(process.stdin, stdout, { maxBufferSize: MAXIMUM_MESSAGE_BYTES });
  const close = transport.close.bind(transport);
  // It closes itself when stdin ends or a message is too large, and tells nobody else.
  transport.close = async () => {
    await close();
    resolve(undefined);
  };
  const live = new Set<McpServer>();
  const handle = serveStdio(
    () => {
      const made = server();
      live.add(made);
      made.server.onclose = () => live.delete(made);
      return made;
    },
    { transport, onerror: onProblem },
  );
  return {
    ended,
    toolsChanged() {
      for (const each of live) each.server.sendToolListChanged().catch(onProblem);
    },
    close: () => handle.close(),
  };
}
