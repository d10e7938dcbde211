import { ComfyUIServiceError } from './errors.ts';
import type { OpenPieces } from './output.ts';

/** Characters that are decoded at a time; a multiple of four, as each four make three bytes. */
const PIECE = 4 * 64 * 1024;

/**
 * Content that came as base64 or as a data URI, decoded a piece at a time. Node's decoder passes over what is no
 * base64; here that is `output_truncated`, so that a damaged picture is never taken for a whole one.
 */
export function base64Content(text: string, name: string): OpenPieces {
  return async function* ({ signal, offset }) {
    const start = text.startsWith('data:') ? text.indexOf(',') + 1 : 0;
    let skip = offset;
    for (let at = start; at < text.length; at += PIECE) {
      signal.throwIfAborted();
      const encoded = text.slice(at, at + PIECE);
      const piece = Buffer.from(encoded, 'base64');
      if (piece.length !== decodedLength(encoded, at + PIECE >= text.length)) throw damaged(name);
      if (skip >= piece.length) skip -= piece.length;
      else {
        yield await Promise.resolve(piece.subarray(skip));
        skip = 0;
      }
    }
  };
}

function decodedLength(encoded: string, isLast: boolean): number {
  const padding = isLast ? (/={1,2}$/.exec(encoded)?.[0].length ?? 0) : 0;
  const length = encoded.length - padding;
  return length % 4 === 1 ? -1 : Math.floor((length * 3) / 4);
}

/** What is said of content that is no base64. */
export function damaged(name: string): ComfyUIServiceError {
  return new ComfyUIServiceError('output_truncated', `${name} came as damaged base64.`, {
    hint: 'Run the job again; when it happens again, look at the worker.',
  });
}
