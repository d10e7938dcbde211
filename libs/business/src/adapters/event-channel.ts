import type { AdapterEvent } from '../adapter.ts';
import { untilAborted } from '../asset-cache.ts';

/** Why there is no event: the server said that the job ended, or that something may have been missed; or silence. */
export type Pause = 'ended' | 'missed' | 'quiet';

/**
 * Events on their way from a socket to whoever follows a job. A slow reader gets every output, but only the newest
 * snapshot and preview: what waits is bounded.
 */
export class EventChannel {
  readonly #outputs: AdapterEvent[] = [];
  #snapshot: AdapterEvent | undefined;
  #preview: AdapterEvent | undefined;
  #pause: Pause | undefined;
  #wake = Promise.withResolvers<undefined>();

  push(event: AdapterEvent): void {
    if (event.type === 'output') this.#outputs.push(event);
    else if (event.type === 'preview') this.#preview = event;
    else this.#snapshot = event;
    this.#wake.resolve(undefined);
  }

  pause(reason: 'ended' | 'missed'): void {
    this.#pause = this.#pause === 'ended' ? 'ended' : reason;
    this.#wake.resolve(undefined);
  }

  /** The next event, or why there is none; `quiet` after so many milliseconds. Rejects with the signal's reason. */
  async next(quietMs: number, signal: AbortSignal): Promise<AdapterEvent | Pause> {
    const found = this.#take();
    if (found !== undefined) return found;
    this.#wake = Promise.withResolvers();
    const timer = setTimeout(() => this.#wake.resolve(undefined), quietMs);
    try {
      await untilAborted(this.#wake.promise, signal);
    } finally {
      clearTimeout(timer);
    }
    return this.#take() ?? 'quiet';
  }

  #take(): AdapterEvent | Pause | undefined {
    const output = this.#outputs.shift();
    if (output !== undefined) return output;
    const event = this.#snapshot ?? this.#preview;
    if (event !== undefined) {
      if (event === this.#snapshot) this.#snapshot = undefined;
      else this.#preview = undefined;
      return event;
    }
    const pause = this.#pause;
    this.#pause = undefined;
    return pause;
  }
}
