import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

/** What RFC 6455 has both sides put behind the key. */
const HANDSHAKE = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

const TEXT = 1;
const BINARY = 2;

/** Accepts a WebSocket; what the client sends is not read. */
export function acceptWebSocket(request: IncomingMessage, socket: Duplex): void {
  const key = request.headers['sec-websocket-key'] ?? '';
  const accept = createHash('sha1')
    .update(key + HANDSHAKE)
    .digest('base64');
  const lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade'];
  socket.write([...lines, `Sec-WebSocket-Accept: ${accept}`, '', ''].join('\r\n'));
  socket.resume();
}

/** Sends one message: a string as text, bytes as binary. */
export function sendWebSocket(socket: Duplex, message: string | Uint8Array): void {
  const payload = Buffer.from(message);
  const head = Buffer.alloc(payload.length < 126 ? 2 : 4);
  head[0] = 0x80 | (typeof message === 'string' ? TEXT : BINARY);
  head[1] = Math.min(payload.length, 126);
  if (payload.length >= 126) head.writeUInt16BE(payload.length, 2);
  socket.write(Buffer.concat([head, payload]));
}
