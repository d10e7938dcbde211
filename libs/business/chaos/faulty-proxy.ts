/** A proxy between a service and the local clouds that fails as told: requests one way, webhooks the other. */
import type { IncomingHttpHeaders, ServerResponse } from 'node:http';

import { Agent, request } from 'undici';

import { type HttpStandIn, httpStandIn, type ReceivedRequest } from '../src/testing/http-stand-in.ts';
import { type FaultRates, unreliableAnswers } from './unreliable-answers.ts';

/** A running proxy. */
export interface FaultyProxy extends HttpStandIn {
  readonly requests: number;
  /** Faults that happened, by name. */
  readonly injected: ReadonlyMap<string, number>;
}

/** Options of {@link faultyProxy}. */
export interface FaultyProxyOptions {
  readonly random: () => number;
  readonly rates: FaultRates;
  /** Addresses by the first part of the path, such as `runpod` for `/runpod/…`. */
  readonly targets: Readonly<Record<string, string>>;
  /** Where webhooks under `/webhooks/…` go. */
  readonly webhooks: () => string;
}

/** Milliseconds by which slow headers are late, and after which a stalled body is cut. */
const SLOW_MS = 1_000;

/** Most milliseconds by which a webhook is late. */
const LATE_MS = 3_000;

/** Headers of one connection only (RFC 9110, 7.6.1), and those that are made anew. */
const OF_THE_CONNECTION = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'host',
  'content-length',
]);

/** Starts the proxy. */
export async function faultyProxy(options: FaultyProxyOptions): Promise<FaultyProxy> {
  const { random, targets } = options;
  const network = unreliableAnswers({ random, rates: options.rates, slowMs: SLOW_MS });
  const dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0 });
  let closed = false;

  const send = (url: string, received: ReceivedRequest) =>
    request(url, {
      method: received.method as 'GET',
      headers: ownHeaders(received.headers),
      ...(received.body.length === 0 ? {} : { body: received.body }),
      dispatcher,
    });

  async function forward(url: string, received: ReceivedRequest, response: ServerResponse): Promise<void> {
    const answer = await send(url, received);
    const headers = ownHeaders(answer.headers);
    if (headers['content-type']?.startsWith('text/event-stream') === true) {
      response.on('close', () => answer.body.destroy());
      response.writeHead(answer.statusCode, headers);
      // Half of the streams that a reset falls to are cut in the middle.
      const cut = network.strikes('resetAfter');
      for await (const piece of answer.body) {
        response.write(piece);
        if (cut) break;
      }
      if (cut) response.destroy();
      else response.end();
      return;
    }
    const bytes = Buffer.from(await answer.body.arrayBuffer());
    network.answerRaw(response, answer.statusCode, { bytes, headers });
  }

  function deliver(received: ReceivedRequest, response: ServerResponse): void {
    const copies = network.strikes('lostWebhook') ? 0 : network.strikes('duplicateWebhook') ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const delay = network.strikes('lateWebhook') ? LATE_MS * random() : 0;
      setTimeout(() => {
        if (closed) return;
        send(`${options.webhooks()}${received.path}`, received)
          .then(({ body }) => body.dump())
          .catch(() => undefined);
      }, delay).unref();
    }
    response.writeHead(200).end();
  }

  const standIn = await httpStandIn((received, response) => {
    standIn.received.length = 0;
    if (received.path.startsWith('/webhooks/')) {
      deliver(received, response);
      return;
    }
    if (!network.arrives(response)) return;
    const [, name = '', rest = ''] = /^\/([a-z]+)(\/.*)$/.exec(received.path) ?? [];
    forward(`${targets[name] ?? ''}${rest}`, received, response).catch(() => response.destroy());
  });
  return {
    url: standIn.url,
    received: standIn.received,
    get requests() {
      return network.requests;
    },
    injected: network.injected,
    async [Symbol.asyncDispose]() {
      closed = true;
      await standIn[Symbol.asyncDispose]();
      await dispatcher.destroy();
    },
  };
}

function ownHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]): [string, string][] =>
      OF_THE_CONNECTION.has(name) || value === undefined ? [] : [[name, String(value)]],
    ),
  );
}
