import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';

import type { OutputKind } from '@ryla/workflow';

import { ComfyUIServiceError } from './errors.ts';

/** Options of reading an output. */
export interface ReadOptions {
  readonly signal?: AbortSignal;
}

/** Opens the content of an output at a byte offset; fewer bytes than promised are an error of the reader. */
export type OpenContent = (options: {
  readonly signal: AbortSignal;
  readonly offset: number;
}) => AsyncIterable<Uint8Array>;

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

/** Attempts to go on with a broken download. */
const DOWNLOAD_ATTEMPTS = 4;

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
    this.name = description.name;
    this.kind = description.kind;
    this.contentType = description.contentType;
    this.size = description.size;
    this.sha256 = description.sha256;
    this.#open = open;
  }

  /**
   * The content in pieces. A broken download goes on where it broke; size and hash are checked when known.
   *
   * @throws {ComfyUIServiceError} `output_missing` or `output_truncated`.
   */
  async *stream(options: ReadOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const signal = options.signal ?? new AbortController().signal;
    const hash = createHash('sha256');
    let offset = 0;
    for (let attempt = 1; ; attempt += 1) {
      let broken: unknown;
      try {
        for await (const piece of this.#open({ signal, offset })) {
          offset += piece.length;
          hash.update(piece);
          yield piece;
        }
      } catch (error) {
        if (signal.aborted || (ComfyUIServiceError.isInstance(error) && !error.retryable)) throw error;
        broken = error;
      }
      const whole = broken === undefined && (this.size === undefined || offset === this.size);
      if (whole) break;
      if (attempt >= DOWNLOAD_ATTEMPTS || (this.size !== undefined && offset > this.size)) {
        const wanted = this.size === undefined ? 'all' : String(this.size);
        throw new ComfyUIServiceError(
          'output_truncated',
          `Only ${offset} of ${wanted} bytes of ${this.name} arrived.`,
          {
            nodeId: this.nodeId,
            cause: broken,
            retryable: true,
          },
        );
      }
    }
    if (this.sha256 !== undefined && hash.digest('hex') !== this.sha256) {
      throw new ComfyUIServiceError(
        'output_truncated',
        `${this.name} arrived with other content than the backend announced.`,
        {
          nodeId: this.nodeId,
          retryable: true,
        },
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
        for await (const piece of this.stream(options)) await handle.write(piece);
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

  /** The description, without a way to the content. */
  toJSON(): OutputDescription {
    const { nodeId, name, kind, contentType, size, sha256 } = this;
    return { nodeId, name, kind, contentType, size, sha256 };
  }
}
