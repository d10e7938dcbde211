import { randomUUID } from 'node:crypto';

import type { FileContent } from './file-content.ts';

/** A body of multipart/form-data with its headers. */
export interface MultipartBody {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: AsyncIterable<Uint8Array>;
}

/** Fields, and one file that is streamed: nothing is held in memory, and the length is known before. */
export function multipart(
  fields: Readonly<Record<string, string>>,
  file: {
    readonly field: string;
    readonly filename: string;
    readonly contentType: string;
    readonly content: FileContent;
  },
  signal: AbortSignal,
): MultipartBody {
  const boundary = `ryla-${randomUUID()}`;
  const head = Buffer.from(
    Object.entries(fields)
      .map(([name, value]) => `${part(boundary, `name="${escaped(name)}"`)}\r\n${value}\r\n`)
      .join('') +
      part(boundary, `name="${escaped(file.field)}"; filename="${escaped(file.filename)}"`) +
      `content-type: ${file.contentType}\r\n\r\n`,
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  return {
    headers: {
      'content-type': `multipart/form-data; boundary=${boundary}`,
      'content-length': String(head.length + file.content.size + tail.length),
    },
    body: pieces(head, file.content, tail, signal),
  };
}

async function* pieces(
  head: Uint8Array,
  content: FileContent,
  tail: Uint8Array,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  yield head;
  yield* content.stream(signal);
  yield tail;
}

function part(boundary: string, disposition: string): string {
  return `--${boundary}\r\ncontent-disposition: form-data; ${disposition}\r\n`;
}

/** As the standard of HTML forms escapes names. */
function escaped(name: string): string {
  return name.replaceAll('\r', '%0D').replaceAll('\n', '%0A').replaceAll('"', '%22');
}
