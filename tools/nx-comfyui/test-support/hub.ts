/** A stand-in for Hugging Face: it has every file, in one revision, and says so in the headers that the real one has. */
import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

/** Bytes of every file: what a small model has. */
const SIZE = 2_000_000_000;

export class Hub implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<Hub> {
    const server = createServer((request, response) => {
      const repository = /^\/([^/]+\/[^/]+)\/resolve\//.exec(request.url ?? '')?.[1];
      if (request.method !== 'HEAD' || repository === undefined) return response.writeHead(404).end();
      return response
        .writeHead(302, {
          'x-repo-commit': sha256(repository).slice(0, 40),
          'x-linked-size': String(SIZE),
          'x-linked-etag': `"${sha256(request.url ?? '')}"`,
          location: '/elsewhere',
        })
        .end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new Hub(server);
  }

  /** What HF_ENDPOINT is set to. */
  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
