import type { IncomingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';

import { type Dispatcher, errors } from 'undici';

import { reasonOf } from './clock.ts';
import { type HttpBody, IncomingBody } from './http-body.ts';

/** An answer whose headers have come. */
export interface HttpResponse {
  readonly statusCode: number;
  /** By their names in lower case. */
  readonly headers: Readonly<IncomingHttpHeaders>;
  readonly body: HttpBody;
}

/**
 * Sends one request and resolves with its answer's headers. By undici's `dispatch`: `request` makes a stream and an
 * asynchronous resource for every answer, which cost as much as the rest of an exchange that is a few hundred bytes long.
 */
export function exchange(
  dispatcher: Dispatcher,
  options: Dispatcher.DispatchOptions,
  signal: AbortSignal,
): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    const handler = new Exchange(resolve, reject, signal, options.body);
    try {
      dispatcher.dispatch(options, handler);
    } catch (error) {
      handler.onResponseError(undefined, error);
    }
  });
}

class Exchange implements Dispatcher.DispatchHandler {
  readonly #resolve: (response: HttpResponse) => void;
  readonly #reject: (error: unknown) => void;
  readonly #signal: AbortSignal;
  readonly #sent: unknown;
  #controller: Dispatcher.DispatchController | undefined;
  #body: IncomingBody | undefined;
  #aborted: Error | undefined;

  constructor(
    resolve: (response: HttpResponse) => void,
    reject: (error: unknown) => void,
    signal: AbortSignal,
    sent: unknown,
  ) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.#sent = sent;
    this.#signal = signal;
    signal.addEventListener('abort', this, { once: true });
  }

  /** The signal's. A request that waits for its connection is not waited for: it ends when it would begin. */
  handleEvent(): void {
    const reason = reasonOf(this.#signal);
    this.#aborted = reason;
    this.#controller?.abort(reason);
    this.onResponseError(undefined, reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted !== undefined) controller.abort(this.#aborted);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: IncomingHttpHeaders,
  ): void {
    // 1xx announce the answer.
    if (statusCode < 200) return;
    this.#body = new IncomingBody(controller);
    this.#resolve({ statusCode, headers, body: this.#body });
  }

  onResponseData(_controller: Dispatcher.DispatchController, piece: Buffer): void {
    this.#body?.push(piece);
  }

  onResponseEnd(): void {
    this.#signal.removeEventListener('abort', this);
    this.#body?.end();
  }

  onResponseError(_controller: unknown, error: unknown): void {
    this.#signal.removeEventListener('abort', this);
    this.#body?.fail(error);
    // After the headers this is without effect.
    this.#reject(error);
    if (!(this.#sent instanceof Readable)) return;
    this.#sent.on('error', () => undefined);
    this.#sent.destroy(error instanceof Error ? error : new errors.RequestAbortedError(String(error)));
  }
}
