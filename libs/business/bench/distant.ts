/** Distance: what a network adds between a client and a server of this machine. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** A way to a server on which every answer arrives later by so many milliseconds. Returns its address. */
export async function distant(url: string, delayMs: number): Promise<string> {
  const { hostname, port } = new URL(url);
  const way = createServer((client) => {
    const server = connect(Number(port), hostname);
    client.setNoDelay();
    server.setNoDelay();
    client.pipe(server);
    void late(server, client, delayMs);
    client.on('error', () => server.destroy());
    server.on('error', () => client.destroy());
  });
  way.listen(0, '127.0.0.1');
  await once(way, 'listening');
  const address = way.address();
  if (address === null || typeof address === 'string') throw new Error('The way has no port.');
  return `http://127.0.0.1:${address.port}`;
}

/** Timers of one duration fire in the order in which they were set, so that no piece overtakes another. */
async function late(from: Socket, to: Socket, delayMs: number): Promise<void> {
  from.on('data', (piece: Buffer) => void sleep(delayMs).then(() => to.write(piece)));
  await once(from, 'close');
  await sleep(delayMs);
  to.destroy();
}
