import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';

import type { OutputKind } from '@ryla/workflow';

import { ComfyUIServiceError } from './errors.ts';

/** Options of reading an output. */
export interface ReadOptions {
  readonly signal?: AbortSignal;
  /** Bytes from which an output is refused as `output_too_large`; {@link MAXIMUM_OUTPUT_BYTES} without it. */
  readonly maximumBytes?: number;
}

/** Largest output that is read unless the caller says otherwise, in bytes: a guard against endless bodies. */
export const MAXIMUM_OUTPUT_BYTES = 8 * 1024 * 1024 * 1024;

/** What one download learns of its content and needs again when it goes on after a break. */
export interface DownloadState {
  /** Tells this version of the content from others: an ETag, or the date of its last change. */
  validator?: string;
}

/** One attempt at a download. */
export interface OpenOptions {
  readonly signal: AbortSignal;
  /** Bytes that have arrived already. */
  readonly offset: number;
  /** Kept between the attempts of one download. */
  readonly state?: DownloadState;
}

/** Opens the content of an output at a byte offset; fewer bytes than promised are an error of the reader. */
export type OpenContent = (options: OpenOptions) => Pieces | Promise<Pieces>;

/** Opens content that is at hand. */
export type OpenPieces = (options: OpenOptions) => AsyncIterable<Uint8Array>;

/** Content in pieces. */
export type Pieces = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** What an adapter knows of an output. */
export interface OutputDescription {
  readonly nodeId: string;
  readonly name: string;
  readonly kind: OutputKind;
  readonly contentType: string;
  /** Bytes, where known. */
  readonly size: number | undefined;
  /** Hexadecimal, where known. */
  readonly sha256: string | undefined;
}

/** Attempts to go on with a broken download, those that brought {@link PROGRESS_BYTES} not counted. */
const DOWNLOAD_ATTEMPTS = 4;

/** Bytes that make an attempt a useful one. */
const PROGRESS_BYTES = 1024 * 1024;

/** Never aborted. */
const NEVER = new AbortController().signal;

/** One output of a job. Nothing is downloaded before it is asked for. */
export class JobOutput implements OutputDescription {
  readonly nodeId: string;
  readonly name: string;
  readonly kind: OutputKind;
  readonly contentType: string;
  readonly size: number | undefined;
  readonly sha256: string | undefined;
  readonly #open: OpenContent;

  constructor(description: OutputDescription, open: OpenContent) {
    this.nodeId = description.nodeId;
    this.name = plainName(description.name);
    this.kind = description.kind;
    this.contentType = description.contentType;
    this.size = description.size;
    this.sha256 = description.sha256;
    this.#open = open;
  }

  /**
   * The content in pieces. A broken download goes on where it broke; size and hash are checked when known.
   *
   * @throws {ComfyUIServiceError} `output_missing`, `output_truncated`, `output_too_large` or `untrusted_url`.
   */
  async *stream(options: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const { signal = NEVER, maximumBytes = MAXIMUM_OUTPUT_BYTES } = options;
    if ((this.size ?? 0) > maximumBytes) throw this.#tooLarge(maximumBytes);
    const hash = this.sha256 === undefined ? undefined : createHash('sha256');
    const state: DownloadState = {};
    let offset = 0;
    for (let attempt = 1; ; attempt += 1) {
      const start = offset;
      let broken: unknown;
      try {
        for await (const piece of await this.#open({ signal, offset, state })) {
          offset += piece.length;
          if (offset > maximumBytes) throw this.#tooLarge(maximumBytes);
          hash?.update(piece);
          yield piece;
        }
      } catch (error) {
        if (signal.aborted || (ComfyUIServiceError.isInstance(error) && !error.retryable)) throw error;
        broken = error;
      }
      const whole = broken === undefined && (this.size === undefined || offset === this.size);
      if (whole) break;
      if (offset - start >= PROGRESS_BYTES) attempt = 0;
      if (attempt >= DOWNLOAD_ATTEMPTS || (this.size !== undefined && offset > this.size))
        throw this.#incomplete(offset, broken);
    }
    if (hash !== undefined && hash.digest('hex') !== this.sha256) {
      throw new ComfyUIServiceError(
        'output_truncated',
        `${this.name} arrived with other content than the backend announced.`,
        { nodeId: this.nodeId, retryable: true },
      );
    }
  }

  /** The whole content. */
  async bytes(options: ReadOptions = {}): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for await (const piece of this.stream(options)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  /** Streams the content to a file, which appears only when it is whole. Returns its path. */
  async save(file: string, options: ReadOptions = {}): Promise<string> {
    await mkdir(path.dirname(file), { recursive: true });
    const partial = path.join(path.dirname(file), `.${path.basename(file)}.${randomUUID()}.partial`);
    try {
      const handle = await open(partial, 'wx');
      try {
        for await (const piece of this.stream(options)) await handle.appendFile(piece);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(partial, file);
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    }
    return file;
  }

  #incomplete(arrived: number, cause: unknown): ComfyUIServiceError {
    // One that says more than "it broke" stays as it is.
    if (ComfyUIServiceError.isInstance(cause) && arrived === 0) return cause;
    return new ComfyUIServiceError(
      'output_truncated',
      `Only ${arrived} of ${this.size ?? 'all'} bytes of ${this.name} arrived.`,
      { nodeId: this.nodeId, cause, retryable: true },
    );
  }

  #tooLarge(limit: number): ComfyUIServiceError {
    return new ComfyUIServiceError('output_too_large', `${this.name} has more than ${limit} bytes.`, {
      nodeId: this.nodeId,
      hint: 'Raise maximumBytes if you expect an output of this size.',
    });
  }

  /** The description, without a way to the content. */
  toJSON(): OutputDescription {
    const { nodeId, name, kind, contentType, size, sha256 } = this;
    return { nodeId, name, kind, contentType, size, sha256 };
  }
}

/** A name that may be put behind a folder: the backend's, without folders and control characters. */
function plainName(name: string): string {
  const last = name.split(/[/\\]/).at(-1) ?? '';
  const shown = last.replaceAll(/[\u0000-\u001f\u007f]/g, '');
  return shown === '' || shown === '.' || shown === '..' ? 'output' : shown;
}
