import { lookup as systemLookup } from 'node:dns';
import type { LookupFunction } from 'node:net';

import { Agent, type Dispatcher, errors, type FormData, request } from 'undici';

import { ComfyUIServiceError } from './errors.ts';

/** Largest JSON answer that is read, in bytes: RunPod returns results of up to 20 MB, base64 included. */
export const MAXIMUM_JSON_BYTES = 64 * 1024 * 1024;

/** Milliseconds until the first byte of an answer must have come. */
export const HEADERS_TIMEOUT_MS = 60_000;

/** A request to a backend. */
export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'HEAD' | 'DELETE';
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | FormData;
  readonly signal: AbortSignal;
  /** Milliseconds between two pieces of the body; 0 for none, as an event stream needs. */
  readonly bodyTimeoutMs?: number;
}

/** Sends requests over connections that are kept open. */
export interface HttpClient {
  send(request: HttpRequest): Promise<Dispatcher.ResponseData>;
  close(): Promise<void>;
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

/** An HTTP client on one undici Agent. Redirects are never followed: a backend's 303 is an answer of its own. */
export function createHttpClient(): HttpClient {
  const agent = new Agent({ connect: { lookup, timeout: 10_000 }, headersTimeout: HEADERS_TIMEOUT_MS });
  return {
    async send({ method, url, headers, body, signal, bodyTimeoutMs }) {
      signal.throwIfAborted();
      try {
        return await request(url, {
          dispatcher: agent,
          method,
          signal,
          ...(headers === undefined ? {} : { headers }),
          ...(body === undefined ? {} : { body }),
          ...(bodyTimeoutMs === undefined ? {} : { bodyTimeout: bodyTimeoutMs }),
        });
      } catch (cause) {
        throw connectionError(url, cause, signal);
      }
    },
    close: () => agent.close(),
  };
}

/** Reads an answer as JSON. Throws `invalid_response` when it is cut short, too large or no JSON. */
export async function readJson(
  response: Dispatcher.ResponseData,
  limit = MAXIMUM_JSON_BYTES,
): Promise<unknown> {
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

/** Reads an answer as text, up to a limit in bytes. */
export async function readText(
  response: Dispatcher.ResponseData,
  limit = MAXIMUM_JSON_BYTES,
): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of response.body) {
      if (!Buffer.isBuffer(piece)) continue;
      size += piece.length;
      if (size > limit) break;
      pieces.push(piece);
    }
  } catch (cause) {
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
  return Buffer.concat(pieces).toString('utf8');
}

/** Milliseconds of a Retry-After header, in seconds or as a date; undefined without one. */
export function retryAfter(response: Dispatcher.ResponseData, now: number): number | undefined {
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
  const code = errorCode(cause);
  const where = `${url.protocol}//${url.host}`;
  const context = { cause, retryable: true, accepted: NEVER_SENT.has(code) ? 'no' : 'unknown' } as const;
  if (cause instanceof errors.HeadersTimeoutError) {
    return new ComfyUIServiceError(
      'backend_unreachable',
      `${where} did not answer within ${HEADERS_TIMEOUT_MS / 1000} s.`,
      context,
    );
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
