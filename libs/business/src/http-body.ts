/** The body of an answer, between undici's callbacks and whoever reads it: no stream object and no copies in between. */

/** Bytes that may wait for their reader before the connection is told to pause; ours: four reads of a socket. */
const WAITING_BYTES = 256 * 1024;

/** Bytes of a body that nobody wants which are read to keep its connection; undici's figure. */
const DUMPED_BYTES = 128 * 1024;

/** The body of an answer. It is read once, in one of these ways; one that nobody reads holds its connection. */
export interface HttpBody extends AsyncIterable<Buffer, undefined> {
  /**
   * Gives every piece as it arrives, without waiting for the receiver. Rejects when the body is cut short, and with what
   * `take` throws.
   */
  forEach(take: (piece: Buffer) => void): Promise<void>;
  /** Passes over the rest, up to so many bytes (128 KiB), then gives the connection up. Never rejects. */
  dump(limit?: number): Promise<void>;
  /** Gives the rest and the connection up. */
  destroy(): void;
}

/** What a body asks of its connection. */
export interface BodySource {
  pause(): void;
  resume(): void;
  /** Cuts the connection; {@link IncomingBody.fail} follows. */
  abort(reason: Error): void;
}

/** Takes the pieces of one body in. */
export class IncomingBody implements HttpBody {
  readonly #source: BodySource;
  #pieces: Buffer[] = [];
  #waiting = 0;
  #isPaused = false;
  #hasEnded = false;
  #failure: { readonly error: unknown } | undefined;
  /** Takes pieces directly, in place of those that wait. */
  #take: ((piece: Buffer) => void) | undefined;
  /** Calls whoever waits for a piece or the end. */
  #wake: (() => void) | undefined;

  constructor(source: BodySource) {
    this.#source = source;
  }

  push(piece: Buffer): void {
    if (this.#failure !== undefined) return;
    if (this.#take !== undefined) {
      this.#give(this.#take, piece);
      return;
    }
    this.#pieces.push(piece);
    this.#waiting += piece.length;
    if (this.#waiting >= WAITING_BYTES && !this.#isPaused) {
      this.#isPaused = true;
      this.#source.pause();
    }
    this.#wakeUp();
  }

  end(): void {
    this.#hasEnded = true;
    this.#wakeUp();
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wakeUp();
  }

  async forEach(take: (piece: Buffer) => void): Promise<void> {
    for (const piece of this.#pieces) this.#give(take, piece);
    this.#pieces = [];
    this.#take = take;
    this.#resume();
    while (!this.#hasEnded && this.#failure === undefined) await this.#woken();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async dump(limit = DUMPED_BYTES): Promise<void> {
    let size = 0;
    try {
      await this.forEach((piece) => {
        size += piece.length;
        if (size > limit) throw new Error('Nobody wants this body.');
      });
    } catch {
      // Whatever it was, nobody wanted it.
    }
  }

  destroy(): void {
    if (!this.#hasEnded) this.#abort(new Error('The body was not read to its end.'));
  }

  /** Leaving the iteration gives the connection up. Pieces are waited for by the server while nobody takes them. */
  [Symbol.asyncIterator](): AsyncIterator<Buffer, undefined> {
    return {
      next: () => this.#next(),
      return: () => {
        this.destroy();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  async #next(): Promise<IteratorResult<Buffer, undefined>> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#waiting -= piece.length;
        if (this.#pieces.length === 0) this.#resume();
        return { done: false, value: piece };
      }
      if (this.#failure !== undefined) throw this.#failure.error;
      if (this.#hasEnded) return { done: true, value: undefined };
      await this.#woken();
    }
  }

  /** What a receiver throws ends the body. */
  #give(take: (piece: Buffer) => void, piece: Buffer): void {
    if (this.#failure !== undefined) return;
    try {
      take(piece);
    } catch (error) {
      this.#abort(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #abort(reason: Error): void {
    this.#pieces = [];
    this.fail(reason);
    this.#source.abort(reason);
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#source.resume();
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #wakeUp(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
