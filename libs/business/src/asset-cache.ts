import { LruMap } from './lru-map.ts';

/** What a backend calls an uploaded file. */
export interface Asset<Ref> {
  readonly ref: Ref;
  /** Milliseconds since 1970 from which the backend may have forgotten it; undefined when it never does. */
  readonly expiresAt: number | undefined;
}

/** Uploads that are remembered per adapter. */
const CAPACITY = 4_096;

/** Milliseconds before its end at which an asset is uploaded anew, so that a queued job still finds it. */
const MARGIN_MS = 60 * 60 * 1000;

/** Uploads every content once: what a backend calls the content with a key (its hash) is remembered. */
export class AssetCache<Ref> {
  readonly #assets = new LruMap<string, Asset<Ref>>(CAPACITY);
  readonly #uploads = new Map<string, Promise<Asset<Ref>>>();
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  /**
   * The asset of a key, uploaded if it is not there. Callers of the same key at once share one upload; when that
   * fails, each of the others tries its own. `reused` tells that nothing was uploaded for this call.
   */
  async get(
    key: string,
    upload: () => Promise<Asset<Ref>>,
    signal: AbortSignal,
  ): Promise<{ readonly ref: Ref; readonly reused: boolean }> {
    signal.throwIfAborted();
    const running = this.#uploads.get(key);
    if (running !== undefined) {
      const shared = await untilAborted(
        running.catch(() => undefined),
        signal,
      );
      if (shared !== undefined) return { ref: shared.ref, reused: true };
      return this.get(key, upload, signal);
    }
    const known = this.#assets.get(key);
    if (known !== undefined && (known.expiresAt ?? Infinity) - MARGIN_MS > this.#now())
      return { ref: known.ref, reused: true };
    const uploading = upload();
    this.#uploads.set(key, uploading);
    try {
      const asset = await uploading;
      this.#assets.set(key, asset);
      return { ref: asset.ref, reused: false };
    } finally {
      this.#uploads.delete(key);
    }
  }

  /** Forgets an asset that the backend no longer has. */
  forget(key: string): void {
    this.#assets.delete(key);
  }
}

/** A promise, or the reason of the signal when it comes first. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
