import { openAsBlob } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';

import type { FileInput } from '@ryla/workflow';

import { ComfyUIServiceError } from './errors.ts';

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  '.png': 'image/png',
  '.jpg': 'image/jpeg',
  '.jpeg': 'image/jpeg',
  '.webp': 'image/webp',
  '.gif': 'image/gif',
  '.mp4': 'video/mp4',
  '.webm': 'video/webm',
  '.wav': 'audio/wav',
  '.mp3': 'audio/mpeg',
  '.flac': 'audio/flac',
};

/** Content type by a file name's extension. */
export function contentTypeOf(name: string): string {
  return CONTENT_TYPES[path.extname(name).toLowerCase()] ?? 'application/octet-stream';
}

/** Size of a file input in bytes. */
export async function sizeOf(source: FileInput): Promise<number> {
  return 'bytes' in source
    ? source.bytes.length
    : (await readable(source.path, () => stat(source.path))).size;
}

/** The whole content of a file input. */
export async function bytesOf(source: FileInput): Promise<Uint8Array> {
  return 'bytes' in source ? source.bytes : readable(source.path, () => readFile(source.path));
}

/** The content as a Blob that reads a file only when it is sent. */
export async function blobOf(source: FileInput, contentType: string): Promise<Blob> {
  if ('bytes' in source) return new Blob([new Uint8Array(source.bytes)], { type: contentType });
  return readable(source.path, () => openAsBlob(source.path, { type: contentType }));
}

async function readable<T>(file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new ComfyUIServiceError('invalid_input_file', `The input file ${file} cannot be read.`, {
      cause,
      accepted: 'no',
    });
  }
}
