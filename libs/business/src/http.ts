import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { Readable } from 'node:stream';

import { Agent, buildConnector, type Dispatcher, errors, type FormData } from 'undici';

import { isAddress, isPublicAddress } from './address-guard.ts';
import { type Base64Json, Base64JsonReader } from './base64-json.ts';
import { ComfyUIServiceError } from './errors.ts';
import { exchange, type HttpResponse } from './http-exchange.ts';

export type { HttpBody } from './http-body.ts';
export type { HttpResponse } from './http-exchange.ts';

/** Largest JSON answer that is read, in bytes: RunPod returns results of up to 20 MB, base64 included. */
export const MAXIMUM_JSON_BYTES = 64 * 1024 * 1024;

/** Milliseconds until the first byte of an answer must have come. */
export const HEADERS_TIMEOUT_MS = 60_000;

/** A request to a backend. */
export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'HEAD' | 'DELETE';
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  /** Pieces are streamed; say their length in the header content-length. */
  readonly body?: string | FormData | AsyncIterable<Uint8Array>;
  readonly signal: AbortSignal;
  /** Milliseconds until the headers of the answer; {@link HEADERS_TIMEOUT_MS} without it. */
  readonly headersTimeoutMs?: number;
  /** Milliseconds between two pieces of the body; 0 for none, as an event stream needs. */
  readonly bodyTimeoutMs?: number;
}

/** Sends requests over connections that are kept open. */
export interface HttpClient {
  send(request: HttpRequest): Promise<HttpResponse>;
  /** What a WebSocket connects through; undici's own without it. */
  readonly dispatcher?: Dispatcher;
  close(): Promise<void>;
}

/** Options of {@link createHttpClient}. */
export interface HttpClientOptions {
  /**
   * `public` refuses, with `untrusted_url`, to connect to anything but public hosts. The address that is judged is
   * the one that is connected to, so that a name cannot answer differently in between. Default `any`.
   */
  readonly network?: 'any' | 'public';
  /** Resolves names; the system's resolver without it. */
  readonly lookup?: LookupFunction;
}

/** Resolves `*.localhost` to this machine (RFC 6761), which not every system does; everything else as usual. */
const lookup: LookupFunction = (hostname, options, callback) => {
  if (hostname === 'localhost' || hostname.endsWith('.localhost')) {
    if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }]);
    else callback(null, '127.0.0.1', 4);
    return;
  }
  systemLookup(hostname, options, callback);
};

/** Resolves names to their public addresses only. */
function publicLookup(resolve: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, found, family) => {
      if (error !== null) {
        callback(error, '', 0);
        return;
      }
      const addresses = typeof found === 'string' ? [{ address: found, family: family ?? 0 }] : found;
      const [first, ...others] = addresses.filter(({ address }) => isPublicAddress(address));
      if (first === undefined) callback(notPublic(hostname), '', 0);
      else if (options.all === true) callback(null, [first, ...others]);
      else callback(null, first.address, first.family);
    });
  };
}

function connector({
  network = 'any',
  lookup: resolve = lookup,
}: HttpClientOptions): buildConnector.connector {
  if (network === 'any') return buildConnector({ lookup: resolve, timeout: 10_000 });
  const connect = buildConnector({ lookup: publicLookup(resolve), timeout: 10_000 });
  return (options, callback) => {
    // An address is connected to without being looked up.
    if (isAddress(options.hostname) && !isPublicAddress(options.hostname))
      callback(notPublic(options.hostname), null);
    else connect(options, callback);
  };
}

function notPublic(hostname: string): ComfyUIServiceError {
  return new ComfyUIServiceError('untrusted_url', `${hostname} is not a public host.`, {
    hint: 'Where addresses of your own network are expected, set allowPrivateNetworks for this backend.',
    accepted: 'no',
  });
}

/** An HTTP client on one undici Agent. Redirects are never followed: a backend's 303 is an answer of its own. */
export function createHttpClient(options: HttpClientOptions = {}): HttpClient {
  const agent = new Agent({ connect: connector(options), headersTimeout: HEADERS_TIMEOUT_MS });
  return {
    dispatcher: agent,
    async send({ method, url, headers, body, signal, headersTimeoutMs, bodyTimeoutMs }) {
      signal.throwIfAborted();
      const options: Dispatcher.DispatchOptions = {
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method,
        headers: headers ?? null,
        body: body === undefined ? null : toBody(body),
        headersTimeout: headersTimeoutMs ?? null,
        bodyTimeout: bodyTimeoutMs ?? null,
      };
      try {
        return await exchange(agent, options, signal);
      } catch (cause) {
        throw connectionError(url, cause, signal);
      }
    },
    close: () => agent.close(),
  };
}

function toBody(body: NonNullable<HttpRequest['body']>): string | FormData | Readable {
  return typeof body === 'object' && Symbol.asyncIterator in body
    ? Readable.from(body, { objectMode: false })
    : body;
}

/** Reads an answer as JSON. Throws `invalid_response` when it is cut short, too large or no JSON. */
export async function readJson(response: HttpResponse, limit = MAXIMUM_JSON_BYTES): Promise<unknown> {
  const text = await readText(response, limit);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ComfyUIServiceError('invalid_response', `The backend's answer is not JSON: ${excerpt(text)}`, {
      cause,
      retryable: true,
      accepted: 'unknown',
    });
  }
}

/** Reads an answer as JSON whose long base64 strings are decoded as they arrive; throws as {@link readJson} does. */
export async function readBase64Json(
  response: HttpResponse,
  limit = MAXIMUM_JSON_BYTES,
): Promise<Base64Json> {
  const reader = new Base64JsonReader();
  await readPieces(response, limit, (piece) => reader.push(piece));
  try {
    return reader.end();
  } catch (cause) {
    throw new ComfyUIServiceError('invalid_response', "The backend's answer is not JSON.", {
      cause,
      retryable: true,
      accepted: 'unknown',
    });
  }
}

/** Reads an answer as text, up to a limit in bytes. */
export async function readText(response: HttpResponse, limit = MAXIMUM_JSON_BYTES): Promise<string> {
  const pieces: Buffer[] = [];
  await readPieces(response, limit, (piece) => pieces.push(piece));
  const [first = Buffer.of()] = pieces;
  return (pieces.length > 1 ? Buffer.concat(pieces) : first).toString('utf8');
}

async function readPieces(
  response: HttpResponse,
  limit: number,
  take: (piece: Buffer) => void,
): Promise<void> {
  let size = 0;
  try {
    await response.body.forEach((piece) => {
      size += piece.length;
      if (size > limit) response.body.destroy();
      else take(piece);
    });
  } catch (cause) {
    if (size <= limit)
      throw new ComfyUIServiceError('invalid_response', "The backend's answer was cut short.", {
        cause,
        retryable: true,
        accepted: 'unknown',
      });
  }
  if (size > limit) {
    throw new ComfyUIServiceError('invalid_response', `The backend's answer is larger than ${limit} bytes.`, {
      accepted: 'unknown',
    });
  }
}

/** Milliseconds of a Retry-After header, in seconds or as a date; undefined without one. */
export function retryAfter(response: HttpResponse, now: number): number | undefined {
  const value = response.headers['retry-after'];
  if (typeof value !== 'string') return undefined;
  const seconds = Number(value);
  const milliseconds = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - now;
  return Number.isFinite(milliseconds) && milliseconds >= 0 ? milliseconds : undefined;
}

/** The first part of a text, for a message. */
export function excerpt(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > 200 ? `${line.slice(0, 199)}…` : line;
}

const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

function connectionError(url: URL, cause: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  // What refused the connection, or could not give the body, says so itself.
  if (ComfyUIServiceError.isInstance(cause)) return cause;
  const code = errorCode(cause);
  const where = `${url.protocol}//${url.host}`;
  const context = { cause, retryable: true, accepted: NEVER_SENT.has(code) ? 'no' : 'unknown' } as const;
  if (cause instanceof errors.HeadersTimeoutError) {
    return new ComfyUIServiceError('backend_unreachable', `${where} did not answer in time.`, context);
  }
  return new ComfyUIServiceError(
    'backend_unreachable',
    `${where} cannot be reached: ${code || String(cause)}.`,
    context,
  );
}

function errorCode(cause: unknown): string {
  if (typeof cause !== 'object' || cause === null) return '';
  if ('code' in cause && typeof cause.code === 'string') return cause.code;
  if (cause instanceof AggregateError) return errorCode(cause.errors[0]);
  return 'cause' in cause ? errorCode(cause.cause) : '';
}
