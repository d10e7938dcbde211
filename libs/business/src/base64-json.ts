/**
 * JSON whose long base64 strings are decoded while it arrives: a picture of 10 MB costs 10 MB, and not its text, a copy
 * of that for the parser, and the parsed string beside them.
 */
import { base64Content, damaged } from './base64-content.ts';
import type { OpenPieces } from './output.ts';

/** Characters from which a string is decoded at once; shorter ones stay in the JSON. */
const LONG_STRING = 64 * 1024;

/** Stands in the JSON for a string that was decoded; no string that arrives holds a bare NUL unescaped. */
const PLACE = '\u0000base64:';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const PADDING = 0x3d;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const DATA_URI = /^data:[^,"\\]{0,200},/;

/** A document, and the strings that were taken out of it. */
export interface Base64Json {
  /** The parsed document. Long strings of base64 are placeholders: give them to `content`. */
  readonly value: unknown;
  /** The content of a base64 string or data URI of the document; throws `output_truncated` when it is damaged. */
  readonly content: (text: string, name: string) => OpenPieces;
}

/** A string whose end has not come. */
interface OpenString {
  pieces: Buffer[];
  length: number;
  /** Whether it is known to be no base64. */
  isPlain: boolean;
  blob: DecodedString | undefined;
}

/** Takes a document piece by piece. */
export class Base64JsonReader {
  readonly #longString: number;
  readonly #json: Buffer[] = [];
  readonly #blobs: DecodedString[] = [];
  /** The string that is being read: undefined between strings. */
  #string: OpenString | undefined;
  /** Whether the next byte is escaped. */
  #isEscaped = false;

  /** @param longString characters from which a string is decoded at once. */
  constructor(longString = LONG_STRING) {
    this.#longString = longString;
  }

  push(piece: Buffer): void {
    for (let at = 0; at < piece.length;)
      at = this.#string === undefined ? this.#outside(piece, at) : this.#inside(piece, at);
  }

  /** The document. Throws a SyntaxError when it is no JSON. */
  end(): Base64Json {
    for (const piece of this.#string?.pieces ?? []) this.#json.push(piece);
    const blobs = this.#blobs;
    const value: unknown = JSON.parse(Buffer.concat(this.#json).toString('utf8'));
    this.#json.length = 0;
    return {
      value,
      content: (text, name) => {
        const blob = text.startsWith(PLACE) ? blobs[Number(text.slice(PLACE.length))] : undefined;
        return blob === undefined ? base64Content(text, name) : blob.content(name);
      },
    };
  }

  /** Up to the next string, its quote included. */
  #outside(piece: Buffer, at: number): number {
    const quote = piece.indexOf(QUOTE, at);
    const end = quote === -1 ? piece.length : quote + 1;
    this.#json.push(piece.subarray(at, end));
    if (quote !== -1) this.#string = { pieces: [], length: 0, isPlain: false, blob: undefined };
    return end;
  }

  /** Up to the end of the string, its quote not included, or of the piece. */
  #inside(piece: Buffer, at: number): number {
    const string = this.#string;
    if (string === undefined) return at;
    if (this.#isEscaped) {
      this.#isEscaped = false;
      this.#keep(string, piece.subarray(at, at + 1));
      return at + 1;
    }
    const quote = piece.indexOf(QUOTE, at);
    const end = quote === -1 ? piece.length : quote;
    const backslash = piece.subarray(at, end).indexOf(BACKSLASH);
    if (backslash !== -1) {
      string.isPlain = true;
      this.#isEscaped = true;
      this.#keep(string, piece.subarray(at, at + backslash + 1));
      return at + backslash + 1;
    }
    this.#keep(string, piece.subarray(at, end));
    if (quote === -1) return end;
    if (string.blob === undefined) this.#json.push(...string.pieces);
    else {
      string.blob.end();
      this.#json.push(Buffer.from(JSON.stringify(PLACE + String(this.#blobs.length)).slice(1, -1)));
      this.#blobs.push(string.blob);
    }
    this.#json.push(piece.subarray(quote, quote + 1));
    this.#string = undefined;
    return quote + 1;
  }

  #keep(string: OpenString, bytes: Buffer): void {
    if (string.blob !== undefined) {
      string.blob.push(bytes);
      return;
    }
    string.pieces.push(bytes);
    string.length += bytes.length;
    if (string.isPlain || string.length < this.#longString) return;
    const whole = Buffer.concat(string.pieces);
    const text = whole.toString('latin1');
    const start = DATA_URI.exec(text)?.[0].length ?? 0;
    if (!BASE64.test(text.slice(start))) {
      string.isPlain = true;
      return;
    }
    string.blob = new DecodedString();
    string.blob.push(whole.subarray(start));
    string.pieces = [];
  }
}

/** Values of the characters; negative for those that are no base64. */
const VALUES = new Int32Array(256).fill(-1);
const ALPHABET = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
for (const [value, character] of ALPHABET.entries()) VALUES[character] = value;

/** The value of a byte; what is past the end is no base64. */
function valueOf(bytes: Buffer, at: number): number {
  return VALUES[bytes[at] ?? PADDING] ?? -1;
}

/** Characters that Node decodes at once: short enough to be garbage that costs nothing. */
const AT_ONCE = 16 * 1024;

/** Decodes as much as Node's own decoder takes for whole and right, in characters; it passes over what is neither. */
function writeWhole(bytes: Buffer, from: number, decoded: Buffer, length: number): number {
  let taken = 0;
  for (;;) {
    const start = from + taken;
    const end = Math.min(start + AT_ONCE, start + ((bytes.length - start) & ~3));
    if (end === start) return taken;
    const text = bytes.toString('latin1', start, end);
    const written = decoded.write(text, length + (taken / 4) * 3, ((end - start) / 4) * 3, 'base64');
    // The URL's alphabet it takes too, and padding makes it shorter.
    if (written !== ((end - start) / 4) * 3 || /[-_=]/.test(text)) return taken;
    taken += end - start;
  }
}

/** A base64 string that is decoded while it arrives. */
class DecodedString {
  readonly #pieces: Buffer[] = [];
  /** Bits of characters that do not make a byte yet, and how many characters there were. */
  #bits = 0;
  #characters = 0;
  #padding = 0;
  #isDamaged = false;

  push(bytes: Buffer): void {
    const decoded = Buffer.allocUnsafe(Math.ceil((bytes.length * 3) / 4) + 3);
    let length = 0;
    for (let at = 0; at < bytes.length;) {
      if (this.#characters === 0 && this.#padding === 0) {
        const taken = writeWhole(bytes, at, decoded, length);
        at += taken;
        length += (taken / 4) * 3;
        // What is wrong or the end is in the next characters: four at once, as long as they are whole.
        for (; at + 4 <= bytes.length; at += 4) {
          const high = (valueOf(bytes, at) << 18) | (valueOf(bytes, at + 1) << 12);
          const bits = high | (valueOf(bytes, at + 2) << 6) | valueOf(bytes, at + 3);
          if (bits < 0) break;
          decoded[length] = bits >> 16;
          decoded[length + 1] = bits >> 8;
          decoded[length + 2] = bits;
          length += 3;
        }
      }
      if (at < bytes.length && this.#one(bytes, at)) {
        decoded[length++] = this.#bits >> 16;
        decoded[length++] = this.#bits >> 8;
        decoded[length++] = this.#bits;
        this.#bits = this.#characters = 0;
      }
      at += 1;
    }
    if (length > 0) this.#pieces.push(decoded.subarray(0, length));
  }

  /** Takes one character; true when it is the fourth. */
  #one(bytes: Buffer, at: number): boolean {
    const value = valueOf(bytes, at);
    if (bytes[at] === PADDING) this.#padding += 1;
    else if (value < 0 || this.#padding > 0) this.#isDamaged = true;
    else {
      this.#bits = (this.#bits << 6) | value;
      this.#characters += 1;
    }
    return this.#characters === 4;
  }

  end(): void {
    const rest = this.#characters;
    const missing = rest === 0 ? 0 : 4 - rest;
    if (rest === 1 || (this.#padding !== 0 && this.#padding !== missing)) this.#isDamaged = true;
    if (rest === 2) this.#pieces.push(Buffer.of(this.#bits >> 4));
    if (rest === 3) this.#pieces.push(Buffer.of(this.#bits >> 10, this.#bits >> 2));
  }

  content(name: string): OpenPieces {
    const pieces = this.#pieces;
    const isDamaged = this.#isDamaged;
    return async function* ({ signal, offset }) {
      if (isDamaged) throw damaged(name);
      let skip = offset;
      for (const piece of pieces) {
        signal.throwIfAborted();
        if (skip < piece.length) yield await Promise.resolve(piece.subarray(skip));
        skip = Math.max(0, skip - piece.length);
      }
    };
  }
}
