import { createHash, randomUUID } from 'node:crypto';
import { close, createReadStream, open, read, write } from 'node:fs';
import { stat, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

import type { FileInput } from '@ryla/workflow';

import { ComfyUIServiceError } from './errors.ts';
import type { FetchForeign } from './remote-content.ts';

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.webp': 'image/webp',
  '.avif': 'image/avif',
  '.gif': 'image/gif',
  '.bmp': 'image/bmp',
  '.svg': 'image/svg+xml',
  '.tiff': 'image/tiff',
  '.mp4': 'video/mp4',
  '.m4v': 'video/mp4',
  '.webm': 'video/webm',
  '.mov': 'video/quicktime',
  '.mkv': 'video/x-matroska',
  '.wav': 'audio/wav',
  '.mp3': 'audio/mpeg',
  '.flac': 'audio/flac',
  '.ogg': 'audio/ogg',
  '.opus': 'audio/ogg',
  '.m4a': 'audio/mp4',
  '.txt': 'text/plain',
  '.json': 'application/json',
  '.csv': 'text/csv',
  '.glb': 'model/gltf-binary',
  '.gltf': 'model/gltf+json',
};

/** Bytes of a stream or a fetched file that are kept in memory; more goes to a temporary file. */
const MEMORY_BYTES = 4 * 1024 * 1024;

/** Bytes that are read from a temporary file at a time. */
const PIECE_BYTES = 256 * 1024;

/** Content type by a file name's extension. */
export function contentTypeOf(name: string): string {
  return CONTENT_TYPES[path.extname(name).toLowerCase()] ?? 'application/octet-stream';
}

/** A file input that was looked at: how large it is, what it holds, and its bytes as often as they are needed. */
export interface FileContent {
  /** Bytes. */
  readonly size: number;
  /** Hexadecimal. */
  readonly sha256: string;
  /** The bytes from the start. Throws `invalid_input_file` when they can no longer be read as they were. */
  stream(signal: AbortSignal): AsyncIterable<Uint8Array>;
}

/** Options of {@link contentOf}. */
export interface ContentOptions {
  readonly signal: AbortSignal;
  /** Bytes from which the backend refuses the file. */
  readonly maximumBytes: number;
  /** Fetches a file that is given by its address. */
  readonly fetch: FetchForeign;
}

/** Streams can be read once, addresses need not be fetched twice: what they held, for as long as their input lives. */
const spools = new WeakMap<FileInput, Promise<FileContent>>();

type FileAtPath = Extract<FileInput, { readonly path: string }>;

/** The service and its adapter look at the same input: a file that has not changed in between is hashed once. */
const hashes = new WeakMap<FileAtPath, { readonly state: string; readonly content: FileContent }>();

/**
 * Milliseconds since a file's last change after which another change surely has another time: file systems count them in
 * steps of up to 10 ms.
 */
const SETTLED_MS = 100;

/**
 * Looks at a file input: its size and hash. A stream or an address is read now; what is large goes to a temporary
 * file that has no name, so that nothing is left behind however this process ends.
 *
 * @throws {ComfyUIServiceError} `invalid_input_file`, `payload_too_large` or `untrusted_url`; nothing was sent then.
 */
export async function contentOf(source: FileInput, options: ContentOptions): Promise<FileContent> {
  options.signal.throwIfAborted();
  if ('bytes' in source) return bytesContent(source.bytes, source.name, options.maximumBytes);
  if ('path' in source) return pathContent(source, options);
  let content = spools.get(source);
  if (content === undefined) {
    const name = source.name ?? ('url' in source ? source.url : '');
    const pieces = 'stream' in source ? source.stream : options.fetch(source.url, options.signal);
    content = spooled(pieces, name, options);
    spools.set(source, content);
    // An address may be fetched again; a stream that broke stays broken.
    if ('url' in source) content.catch(() => spools.delete(source));
  }
  const found = await content;
  if (found.size > options.maximumBytes) throw tooLarge(shownName(source), found.size, options.maximumBytes);
  return found;
}

/** The whole content in memory; only for what is sent inline, and so is small. */
export async function bytesOf(content: FileContent, signal: AbortSignal): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of content.stream(signal)) pieces.push(piece);
  return Buffer.concat(pieces);
}

function shownName(source: FileInput): string {
  if ('path' in source) return source.path;
  return source.name ?? ('url' in source ? source.url : '');
}

function bytesContent(bytes: Uint8Array, name: string, maximumBytes: number): FileContent {
  if (bytes.length > maximumBytes) throw tooLarge(name, bytes.length, maximumBytes);
  return {
    size: bytes.length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    async *stream() {
      yield await Promise.resolve(bytes);
    },
  };
}

async function pathContent(
  source: FileAtPath,
  { signal, maximumBytes }: ContentOptions,
): Promise<FileContent> {
  const { path: file } = source;
  const { size, state, isSettled } = await stateOf(file);
  if (size > maximumBytes) throw tooLarge(file, size, maximumBytes);
  const known = hashes.get(source);
  if (known?.state === state) return known.content;
  const hash = createHash('sha256');
  const stream = (abort: AbortSignal): AsyncGenerator<Uint8Array> => filePieces(file, size, abort);
  for await (const piece of stream(signal)) hash.update(piece);
  const content = { size, sha256: hash.digest('hex'), stream };
  if (isSettled) hashes.set(source, { state, content });
  return content;
}

/** What tells a file's content from what it was before, as the file system has it. */
async function stateOf(
  file: string,
): Promise<{ readonly size: number; readonly state: string; readonly isSettled: boolean }> {
  const { size, dev, ino, mtimeNs, ctimeNs, ctimeMs } = await stat(file, { bigint: true }).catch(
    (cause: unknown) => {
      throw unreadable(file, cause);
    },
  );
  return {
    size: Number(size),
    state: [dev, ino, size, mtimeNs, ctimeNs].join(' '),
    isSettled: Date.now() - Number(ctimeMs) >= SETTLED_MS,
  };
}

async function* filePieces(file: string, size: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let arrived = 0;
  try {
    for await (const piece of createReadStream(file, { signal, highWaterMark: PIECE_BYTES })) {
      if (!Buffer.isBuffer(piece)) continue;
      arrived += piece.length;
      if (arrived > size) break;
      yield piece;
    }
  } catch (cause) {
    signal.throwIfAborted();
    throw unreadable(file, cause);
  }
  if (arrived !== size) throw unreadable(file, undefined, 'it changed while it was read');
}

/** A file without a name: gone when its last reader is, or with this process. */
const forgotten = new FinalizationRegistry<number>((descriptor) => close(descriptor, () => undefined));

async function spooled(
  pieces: AsyncIterable<unknown>,
  name: string,
  { signal, maximumBytes }: ContentOptions,
): Promise<FileContent> {
  const hash = createHash('sha256');
  let kept: Uint8Array[] = [];
  let size = 0;
  let descriptor: number | undefined;
  try {
    for await (const piece of pieces) {
      signal.throwIfAborted();
      if (!(piece instanceof Uint8Array)) throw new TypeError('A stream of bytes must give Uint8Arrays.');
      size += piece.length;
      if (size > maximumBytes) throw tooLarge(name, size, maximumBytes);
      hash.update(piece);
      kept.push(piece);
      if (descriptor === undefined && size <= MEMORY_BYTES) continue;
      descriptor ??= await openNameless();
      for (const each of kept) await writeAll(descriptor, each);
      kept = [];
    }
  } catch (cause) {
    if (descriptor !== undefined) close(descriptor, () => undefined);
    signal.throwIfAborted();
    if (ComfyUIServiceError.isInstance(cause)) throw cause;
    throw unreadable(name, cause);
  }
  const sha256 = hash.digest('hex');
  if (descriptor === undefined) {
    const bytes = Buffer.concat(kept);
    return { ...bytesContent(bytes, name, maximumBytes), sha256 };
  }
  const from = descriptor;
  const content: FileContent = {
    size,
    sha256,
    async *stream(abort) {
      // `content` is named here so that the descriptor stays open while someone reads.
      for (let at = 0; at < content.size;) {
        abort.throwIfAborted();
        const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, content.size - at));
        const { bytesRead } = await promisify(read)(from, piece, 0, piece.length, at);
        if (bytesRead === 0) throw unreadable(name, undefined, 'its temporary file was cut short');
        at += bytesRead;
        yield piece.subarray(0, bytesRead);
      }
    },
  };
  forgotten.register(content, from);
  return content;
}

async function openNameless(): Promise<number> {
  const file = path.join(tmpdir(), `ryla-input-${randomUUID()}`);
  const descriptor = await promisify(open)(file, 'wx+', 0o600);
  // Where an open file cannot be unlinked, the system's own cleaning of temporary files takes it.
  await unlink(file).catch(() => undefined);
  return descriptor;
}

async function writeAll(descriptor: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;)
    at += (await promisify(write)(descriptor, bytes, at, bytes.length - at)).bytesWritten;
}

function unreadable(name: string, cause: unknown, why = 'it cannot be read'): ComfyUIServiceError {
  return new ComfyUIServiceError('invalid_input_file', `The input file ${name} was not sent: ${why}.`, {
    cause,
    accepted: 'no',
  });
}

function tooLarge(name: string, size: number, limit: number): ComfyUIServiceError {
  const mebibytes = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1);
  return new ComfyUIServiceError(
    'payload_too_large',
    `The input file ${name} has ${mebibytes(size)} MiB or more; this backend takes ${mebibytes(limit)} MiB.`,
    { accepted: 'no', hint: 'Send a smaller file.' },
  );
}
