/** ComfyUI's WebSocket: one for all jobs of an adapter, opened again when it breaks. */
import { type Dispatcher, WebSocket } from 'undici';
import { z } from 'zod';

/** What is heard. */
export type SocketMessage =
  | { readonly type: 'message'; readonly name: string; readonly data: unknown }
  | {
      readonly type: 'preview';
      /** Job and node, where the server tells. */
      readonly promptId: string | undefined;
      readonly nodeId: string | undefined;
      readonly contentType: string;
      readonly bytes: Uint8Array;
    };

/** Options of {@link ComfyUISocket}. */
export interface SocketOptions {
  /** Address with the client's id. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly dispatcher: Dispatcher | undefined;
  /** Milliseconds before the first attempt to reconnect; doubled up to {@link LARGEST_DELAY_MS}. */
  readonly reconnectMs: number;
  /** A number from 0 to 1, for jitter. */
  readonly random: () => number;
  readonly onMessage: (message: SocketMessage) => void;
  /** After a connection: what was said before it was not heard. */
  readonly onConnected: () => void;
}

const LARGEST_DELAY_MS = 10_000;

const message = z.object({ type: z.string(), data: z.unknown() });
const previewMetadata = z.object({
  prompt_id: z.string().nullish(),
  node_id: z.string().nullish(),
  image_type: z.string().nullish(),
});

/** Binary messages: a preview, and one with metadata (ComfyUI's BinaryEventTypes). */
const PREVIEW = 1;
const PREVIEW_WITH_METADATA = 4;

/** What this client understands, told in the first message. */
const FEATURES = JSON.stringify({ type: 'feature_flags', data: { supports_preview_metadata: true } });

/** A connection that is wanted or not; while it is, a broken one is opened again with growing delay and jitter. */
export class ComfyUISocket {
  readonly #options: SocketOptions;
  #isWanted = false;
  #socket: WebSocket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #delay: number;
  #settled = Promise.withResolvers<undefined>();

  constructor(options: SocketOptions) {
    this.#options = options;
    this.#delay = options.reconnectMs;
  }

  /** Opens the connection, if it is not. Resolves when it is open or the first attempt has failed. */
  async open(): Promise<void> {
    this.#isWanted = true;
    if (this.#socket === undefined && this.#timer === undefined) this.#connect();
    await this.#settled.promise;
  }

  /** Closes the connection until it is opened again. */
  close(): void {
    this.#isWanted = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    this.#settled.resolve(undefined);
    this.#settled = Promise.withResolvers();
    if (socket !== undefined && socket.readyState !== WebSocket.CLOSED) socket.close();
  }

  /** Replaces a connection that went silent. */
  restart(): void {
    if (!this.#isWanted || this.#socket === undefined) return;
    this.close();
    this.#isWanted = true;
    this.#connect();
  }

  #connect(): void {
    const { url, headers, dispatcher } = this.#options;
    const socket = new WebSocket(url, { headers, ...(dispatcher === undefined ? {} : { dispatcher }) });
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('open', () => {
      if (this.#socket !== socket) return;
      socket.send(FEATURES);
      this.#settled.resolve(undefined);
      this.#options.onConnected();
    });
    socket.addEventListener('message', ({ data }) => {
      if (this.#socket !== socket) return;
      this.#delay = this.#options.reconnectMs;
      const heard = typeof data === 'string' ? textMessage(data) : binaryMessage(data);
      if (heard !== undefined) this.#options.onMessage(heard);
    });
    socket.addEventListener('error', () => this.#lost(socket));
    socket.addEventListener('close', () => this.#lost(socket));
  }

  #lost(socket: WebSocket): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    this.#settled.resolve(undefined);
    if (!this.#isWanted) return;
    this.#settled = Promise.withResolvers();
    this.#settled.resolve(undefined);
    const delay = this.#delay * (1 - 0.25 * this.#options.random());
    this.#delay = Math.min(this.#delay * 2, LARGEST_DELAY_MS);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#connect();
    }, delay);
  }
}

function textMessage(text: string): SocketMessage | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = message.safeParse(value);
  return parsed.success ? { type: 'message', name: parsed.data.type, data: parsed.data.data } : undefined;
}

/** Reads a binary message; those of unknown kinds, and those cut short, are passed over. */
export function binaryMessage(data: unknown): SocketMessage | undefined {
  if (!(data instanceof ArrayBuffer) || data.byteLength < 8) return undefined;
  const bytes = Buffer.from(data);
  const kind = bytes.readUInt32BE(0);
  if (kind === PREVIEW) {
    const contentType = bytes.readUInt32BE(4) === 2 ? 'image/png' : 'image/jpeg';
    return { type: 'preview', promptId: undefined, nodeId: undefined, contentType, bytes: bytes.subarray(8) };
  }
  if (kind !== PREVIEW_WITH_METADATA) return undefined;
  const end = 8 + bytes.readUInt32BE(4);
  if (end > bytes.length) return undefined;
  let metadata: unknown;
  try {
    metadata = JSON.parse(bytes.toString('utf8', 8, end));
  } catch {
    return undefined;
  }
  const parsed = previewMetadata.safeParse(metadata);
  if (!parsed.success) return undefined;
  return {
    type: 'preview',
    promptId: parsed.data.prompt_id ?? undefined,
    nodeId: parsed.data.node_id ?? undefined,
    contentType: parsed.data.image_type ?? 'image/jpeg',
    bytes: bytes.subarray(end),
  };
}
