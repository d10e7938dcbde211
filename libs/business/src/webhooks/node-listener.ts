import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';

import type { WebhookHandler } from './incoming.ts';

/** A handler as node:http has it; Express takes it too, before anything that reads bodies. */
export function nodeListener(
  handler: WebhookHandler,
): (incoming: IncomingMessage, response: ServerResponse) => void {
  return (incoming, response) => {
    void answer(handler, incoming, response);
  };
}

async function answer(
  handler: WebhookHandler,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const answered = await handler(toRequest(incoming));
    // What was refused may still be on its way: the connection is not used again.
    if (!incoming.complete) response.setHeader('connection', 'close');
    response.writeHead(answered.status, Object.fromEntries(answered.headers));
    response.end(Buffer.from(await answered.arrayBuffer()));
  } catch {
    if (!response.headersSent) response.writeHead(400, { connection: 'close' });
    response.end();
  }
}

function toRequest(incoming: IncomingMessage): Request {
  const { method = 'GET', url = '/' } = incoming;
  const headers = new Headers();
  for (const [name, values] of Object.entries(incoming.headersDistinct))
    for (const value of values ?? []) headers.append(name, value);
  const hasBody = method !== 'GET' && method !== 'HEAD';
  // The host is the sender's word and means nothing here.
  return new Request(new URL(url.startsWith('/') ? `http://localhost${url}` : url), {
    method,
    headers,
    ...(hasBody ? { body: Readable.toWeb(incoming), duplex: 'half' } : {}),
  });
}
