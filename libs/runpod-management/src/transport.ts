/** One request to RunPod and its answer as JSON; no retries and no meaning. */
import { Agent, type Dispatcher, errors, request } from 'undici';

import { RunPodManagementError, type RunPodErrorContext } from './runpod-error.ts';
import { problem } from './schemas.ts';

/** Largest answer that is read, in bytes: a list of a thousand endpoints has about 1 MB. */
export const MAXIMUM_ANSWER_BYTES = 32 * 1024 * 1024;

/** A request. */
export interface WireRequest {
  /** Operation of RunPod's document. */
  readonly operation: string;
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly url: URL;
  readonly body?: object;
  readonly signal: AbortSignal;
  /** Milliseconds until the whole answer must be there. */
  readonly timeoutMs: number;
}

/** An answer with a status of 2xx. */
export interface WireAnswer {
  readonly status: number;
  readonly requestId: string | undefined;
  /** Parsed JSON; undefined for an answer without a body. */
  readonly body: unknown;
  /** The header `link`, by which some APIs say that a list goes on. */
  readonly link: string | undefined;
}

/** Sends requests on connections of its own. */
export interface Transport {
  /** @throws {RunPodManagementError} for everything but a 2xx with JSON; the signal's reason when it was aborted. */
  send(request: WireRequest): Promise<WireAnswer>;
  /**
   * The body of a 2xx as it arrives; only its beginning must be there within `timeoutMs`.
   *
   * @throws {RunPodManagementError} as `send`, and from the iteration where the connection breaks.
   */
  stream(
    request: WireRequest & { readonly lastEventId?: string | undefined },
  ): Promise<AsyncIterable<Buffer>>;
  close(): Promise<void>;
}

const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** A transport that authenticates with an API key. Redirects are never followed, so that the key stays with its host. */
export function createTransport(apiKey: string): Transport {
  const agent = new Agent();
  return {
    async send(wire) {
      wire.signal.throwIfAborted();
      const timeout = AbortSignal.timeout(wire.timeoutMs);
      const context = { operation: wire.operation, ...(wire.method === 'GET' ? {} : UNKNOWN) };
      try {
        const response = await request(wire.url, {
          dispatcher: agent,
          method: wire.method,
          signal: AbortSignal.any([wire.signal, timeout]),
          headers: {
            accept: 'application/json',
            authorization: `Bearer ${apiKey}`,
            ...(wire.body === undefined ? {} : { 'content-type': 'application/json' }),
          },
          ...(wire.body === undefined ? {} : { body: JSON.stringify(wire.body) }),
        });
        const requestId = headerText(response.headers['x-request-id']);
        const status = response.statusCode;
        const hide = secretsOf(apiKey, wire.body);
        if (status < 200 || status > 299) throw await refused(response, hide, context);
        const text = await readText(response.body);
        const link = headerText(response.headers['link']);
        return { status, requestId, link, body: parse(text, hide, { ...context, status, requestId }) };
      } catch (cause) {
        throw asError(cause, wire, timeout, context);
      }
    },
    async stream(wire) {
      wire.signal.throwIfAborted();
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), wire.timeoutMs);
      const context = { operation: wire.operation };
      try {
        const response = await request(wire.url, {
          dispatcher: agent,
          method: wire.method,
          signal: AbortSignal.any([wire.signal, late.signal]),
          // A worker may say nothing for hours.
          bodyTimeout: 0,
          headers: {
            accept: 'text/event-stream',
            authorization: `Bearer ${apiKey}`,
            ...(wire.lastEventId === undefined ? {} : { 'last-event-id': wire.lastEventId }),
          },
        });
        const status = response.statusCode;
        if (status < 200 || status > 299) throw await refused(response, [apiKey], context);
        return piecesOf(response.body, (cause) => asError(cause, wire, late.signal, context));
      } catch (cause) {
        throw asError(cause, wire, late.signal, context);
      } finally {
        clearTimeout(timer);
      }
    },
    close: () => agent.close(),
  };
}

const UNKNOWN = { accepted: 'unknown' } as const;

function headerText(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value;
}

async function readText(body: AsyncIterable<unknown>): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of body) {
    if (!Buffer.isBuffer(piece)) continue;
    size += piece.length;
    if (size > MAXIMUM_ANSWER_BYTES) throw new AnswerTooLarge();
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

class AnswerTooLarge extends Error {}

async function* piecesOf(
  body: AsyncIterable<unknown>,
  errorOf: (cause: unknown) => unknown,
): AsyncGenerator<Buffer> {
  try {
    for await (const piece of body) if (Buffer.isBuffer(piece)) yield piece;
  } catch (cause) {
    throw errorOf(cause);
  }
}

async function refused(
  { statusCode, headers, body }: Dispatcher.ResponseData,
  hide: readonly string[],
  context: RunPodErrorContext,
): Promise<RunPodManagementError> {
  return refusal(await readText(body), hide, {
    ...context,
    status: statusCode,
    requestId: headerText(headers['x-request-id']),
    retryAfterMs: retryAfter(headerText(headers['retry-after'])),
  });
}

function parse(text: string, hide: readonly string[], context: RunPodErrorContext): unknown {
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new RunPodManagementError(
      'invalid_response',
      `RunPod's answer to ${context.operation ?? 'a request'} is not JSON: ${excerpt(text, hide)}`,
      { ...context, retryable: true },
    );
  }
}

function refusal(text: string, hide: readonly string[], context: RunPodErrorContext): RunPodManagementError {
  const status = context.status ?? 0;
  const details = explanation(text, hide);
  const message = `RunPod answered ${context.operation ?? 'a request'} with ${status}: ${details}`;
  if (status >= 500 || status === 408 || status === 425)
    return new RunPodManagementError('server_error', message, { ...context, retryable: true });
  const refused = { ...context, accepted: context.accepted === undefined ? undefined : ('no' as const) };
  switch (status) {
    case 401:
      return new RunPodManagementError('unauthorized', message, {
        ...refused,
        hint: 'Check RUNPOD_API_KEY.',
      });
    case 403:
      return new RunPodManagementError('forbidden', message, {
        ...refused,
        hint: 'The API key may not do this: give it access to serverless endpoints in RunPod’s settings.',
      });
    case 404:
      return new RunPodManagementError('not_found', message, refused);
    case 429:
      return new RunPodManagementError('rate_limited', message, { ...refused, retryable: true });
    default:
      return new RunPodManagementError(
        status >= 400 ? 'invalid_request' : 'invalid_response',
        message,
        status >= 400 ? refused : context,
      );
  }
}

function explanation(text: string, hide: readonly string[]): string {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return text === '' ? 'nothing' : `no JSON: ${excerpt(text, hide)}`;
  }
  const parsed = problem.safeParse(document);
  if (!parsed.success) return excerpt(text, hide);
  const { title, detail, errors: problems = [] } = parsed.data;
  const list = problems.length === 0 ? '' : ` (${problems.slice(0, 10).join('; ')})`;
  return excerpt(`${title}: ${detail}${list}`, hide, 1_000);
}

/** What must not be shown although RunPod may repeat it: the key, and the values of environment variables. */
function secretsOf(apiKey: string, body: object | undefined): readonly string[] {
  const variables: unknown = body !== undefined && 'env' in body ? body.env : undefined;
  const values: unknown[] =
    typeof variables === 'object' && variables !== null ? Object.values(variables) : [];
  // Shorter values are no secrets, and hiding them would leave nothing of the message.
  return [apiKey, ...values.filter((value) => typeof value === 'string').filter(({ length }) => length >= 6)];
}

function excerpt(text: string, hide: readonly string[], length = 200): string {
  let line = text.replaceAll(/\s+/g, ' ').trim();
  for (const secret of hide) line = line.replaceAll(secret, '(hidden)');
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}

/** Milliseconds of a Retry-After in seconds, or as a date. */
function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const seconds = Number(value);
  const milliseconds = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(milliseconds) && milliseconds >= 0 ? milliseconds : undefined;
}

function asError(
  cause: unknown,
  wire: WireRequest,
  timeout: AbortSignal,
  context: RunPodErrorContext,
): unknown {
  if (RunPodManagementError.isInstance(cause)) return cause;
  if (wire.signal.aborted) return wire.signal.reason;
  const where = `${wire.url.protocol}//${wire.url.host}`;
  if (
    timeout.aborted ||
    cause instanceof errors.HeadersTimeoutError ||
    cause instanceof errors.BodyTimeoutError
  )
    return new RunPodManagementError(
      'timed_out',
      `${where} did not answer ${wire.operation} within ${wire.timeoutMs / 1000} s.`,
      { ...context, retryable: true },
    );
  if (cause instanceof AnswerTooLarge)
    return new RunPodManagementError(
      'invalid_response',
      `RunPod's answer to ${wire.operation} is larger than ${MAXIMUM_ANSWER_BYTES} bytes.`,
      context,
    );
  const code = errorCode(cause);
  const accepted = context.accepted === undefined || !NEVER_SENT.has(code) ? context.accepted : 'no';
  return new RunPodManagementError(
    'unreachable',
    `${where} cannot be reached for ${wire.operation}: ${code || 'the connection was cut'}.`,
    { ...context, cause, retryable: true, accepted },
  );
}

function errorCode(cause: unknown): string {
  if (typeof cause !== 'object' || cause === null) return '';
  if ('code' in cause && typeof cause.code === 'string') return cause.code;
  if (cause instanceof AggregateError) return errorCode(cause.errors[0]);
  return 'cause' in cause ? errorCode(cause.cause) : '';
}
