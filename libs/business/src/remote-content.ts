/** Content behind an address: fetched with a check of origin, and resumed only where it is still the same content. */

import { ComfyUIServiceError } from './errors.ts';
import type { HttpClient, HttpResponse } from './http.ts';
import type { OpenContent, OpenOptions, Pieces } from './output.ts';

/** Redirects that are followed for one file. */
const MAXIMUM_REDIRECTS = 5;

/** Milliseconds between two pieces of a file after which its connection counts as broken. */
const STALL_MS = 60_000;

/** Fetches an address that somebody else gave; rejects with `untrusted_url` where it must not be asked. */
export type FetchForeign = (url: string, signal: AbortSignal) => AsyncIterable<Uint8Array>;

/** How the addresses of a backend's files are fetched. */
export interface RemoteContentOptions {
  /** The backend itself: its addresses are asked with its credentials, and nothing else is. */
  readonly own?: {
    readonly origin: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly http: HttpClient;
  };
  /** Asks all others, without credentials. */
  readonly foreign: HttpClient;
  /** Whether others may be asked over http; for tests and networks of one's own. */
  readonly allowHttp: boolean;
}

/** What the file is called in errors. */
export interface RemoteFile {
  readonly url: string;
  readonly name: string;
  readonly nodeId: string;
}

/** Content that is fetched by GET, with Range and If-Range when a broken download goes on. */
export function remoteContent(options: RemoteContentOptions, file: RemoteFile): OpenContent {
  return async (request) => {
    const response = await open(options, file, request, rangeHeaders(request));
    return body(response, file, request);
  };
}

/** Fetches an input file that was given by its address. */
export function fetchForeign(options: RemoteContentOptions): FetchForeign {
  return async function* (url, signal) {
    try {
      yield* await remoteContent(options, { url, name: url, nodeId: '' })({ signal, offset: 0 });
    } catch (error) {
      signal.throwIfAborted();
      const isOurs = ComfyUIServiceError.isInstance(error);
      if (isOurs && error.code === 'untrusted_url') throw error;
      throw new ComfyUIServiceError('invalid_input_file', `The input file ${url} cannot be fetched.`, {
        cause: error,
        retryable: !isOurs || error.retryable,
        accepted: 'no',
      });
    }
  };
}

async function open(
  options: RemoteContentOptions,
  file: RemoteFile,
  { signal }: OpenOptions,
  headers: Readonly<Record<string, string>>,
): Promise<HttpResponse> {
  let url = parsedUrl(file.url, file);
  for (let redirects = 0; redirects <= MAXIMUM_REDIRECTS; redirects += 1) {
    const isOwn = url.origin === options.own?.origin;
    if (!isOwn && url.protocol !== 'https:' && !(options.allowHttp && url.protocol === 'http:'))
      throw untrusted(file, 'is not https');
    const response = await (isOwn ? options.own.http : options.foreign).send({
      method: 'GET',
      url,
      headers: { 'accept-encoding': 'identity', ...headers, ...(isOwn ? options.own.headers : {}) },
      signal,
      bodyTimeoutMs: STALL_MS,
    });
    const { location } = response.headers;
    if (response.statusCode < 300 || response.statusCode >= 400 || typeof location !== 'string')
      return response;
    await response.body.dump();
    url = parsedUrl(new URL(location, url).href, file);
  }
  throw untrusted(file, 'is redirected too often');
}

function parsedUrl(text: string, file: RemoteFile): URL {
  const url = URL.parse(text);
  if (url === null) throw untrusted(file, 'cannot be read');
  return url;
}

function untrusted(file: RemoteFile, why: string): ComfyUIServiceError {
  return new ComfyUIServiceError('untrusted_url', `The address of ${file.name} ${why}.`, {
    nodeId: file.nodeId === '' ? undefined : file.nodeId,
    accepted: 'no',
  });
}

function rangeHeaders({ offset, state }: OpenOptions): Readonly<Record<string, string>> {
  if (offset === 0) return {};
  const validator = state?.validator;
  return {
    range: `bytes=${offset}-`,
    ...(validator === undefined ? {} : { 'if-range': validator }),
  };
}

/** The content behind the offset. */
async function body(
  response: HttpResponse,
  file: RemoteFile,
  { offset, state }: OpenOptions,
): Promise<Pieces> {
  const { statusCode } = response;
  // Nothing is left behind the offset: it was the end.
  if (statusCode === 416 && offset > 0) {
    await response.body.dump();
    return [];
  }
  if (statusCode !== 200 && statusCode !== 206) {
    await response.body.dump();
    throw refused(file, statusCode);
  }
  const validator = validatorOf(response);
  if (offset > 0 && state?.validator !== undefined && validator !== state.validator) {
    response.body.destroy();
    throw damaged(file, 'changed while it was downloaded', false);
  }
  if (state !== undefined && validator !== undefined) state.validator = validator;
  const start = statusCode === 206 ? rangeStart(response, offset) : 0;
  if (start === undefined || start > offset) {
    response.body.destroy();
    throw damaged(file, 'came with another range than the one that was asked for', true);
  }
  // A server that passes over Range sends all of it again.
  return start === offset ? response.body : after(offset - start, response.body);
}

async function* after(bytes: number, pieces: AsyncIterable<Buffer>): AsyncGenerator<Uint8Array> {
  let skip = bytes;
  for await (const piece of pieces) {
    if (skip < piece.length) yield piece.subarray(skip);
    skip = Math.max(0, skip - piece.length);
  }
}

/** A strong ETag, or the date of the last change; a weak ETag does not promise the same bytes. */
function validatorOf({ headers }: HttpResponse): string | undefined {
  const { etag, 'last-modified': modified } = headers;
  if (typeof etag === 'string' && !etag.startsWith('W/')) return etag;
  return typeof modified === 'string' ? modified : undefined;
}

/** Where a partial answer begins; one that does not say is what was asked for. */
function rangeStart({ headers }: HttpResponse, asked: number): number | undefined {
  const range = headers['content-range'];
  if (range === undefined) return asked;
  const start = typeof range === 'string' ? /^bytes (\d+)-/.exec(range)?.[1] : undefined;
  return start === undefined ? undefined : Number(start);
}

function refused(file: RemoteFile, statusCode: number): ComfyUIServiceError {
  const context = { nodeId: file.nodeId, retryable: statusCode === 429 || statusCode >= 500 };
  return new ComfyUIServiceError(
    'output_missing',
    `${file.name} cannot be read (status ${statusCode}).`,
    statusCode === 403 || statusCode === 410
      ? { ...context, hint: 'Its address may have expired; ask for the status of the job again.' }
      : context,
  );
}

function damaged(file: RemoteFile, why: string, retryable: boolean): ComfyUIServiceError {
  return new ComfyUIServiceError('output_truncated', `${file.name} ${why}.`, {
    nodeId: file.nodeId,
    retryable,
  });
}
