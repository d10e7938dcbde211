import process from 'node:process';

import { isAddress, isPublicAddress } from '../address-guard.ts';
import { ComfyUIServiceError } from '../errors.ts';
import { createHttpClient, type HttpClient, retryAfter } from '../http.ts';
import type { Clock } from '../clock.ts';
import { systemClock } from '../clock.ts';
import { signWebhook } from './standard-webhooks.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/**
 * Milliseconds to wait after each failed attempt, up to a tenth more by chance. The example of Standard Webhooks 1.0.0
 * ("Deliverability and reliability"), ended within a day as ours must:
 *
 * | attempt | after the one before | since the first |
 * | ------- | -------------------- | --------------- |
 * | 1       |                      | 0               |
 * | 2       | 5 s                  | 5 s             |
 * | 3       | 5 min                | 5 min 5 s       |
 * | 4       | 30 min               | 35 min 5 s      |
 * | 5       | 2 h                  | 2 h 35 min      |
 * | 6       | 5 h                  | 7 h 35 min      |
 * | 7       | 6 h                  | 13 h 35 min     |
 * | 8       | 8 h                  | 21 h 35 min     |
 */
export const RETRY_SCHEDULE_MS: readonly number[] = [
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  6 * HOUR,
  8 * HOUR,
];

/** Milliseconds for a receiver to answer (Standard Webhooks recommends 15 to 30 s). */
export const ANSWER_TIMEOUT_MS = 20 * SECOND;

/** Bytes of an answer that are read, so that the connection can be used again; it says nothing to us. */
const ANSWER_BYTES = 16 * 1024;

/** A message that is taken from the outbox. */
export interface OutgoingDelivery {
  /** Id of the message; the same for all attempts. */
  readonly id: string;
  readonly jobId: string;
  readonly url: string;
  /** The body, exactly as it is signed and sent. */
  readonly payload: string;
  /** How often it was taken, this time included. */
  readonly attempts: number;
}

/** Where messages wait, on disk; every job store is one. */
export interface WebhookOutbox {
  /** Takes messages that are due and that nobody holds, for `lease.ms` milliseconds. */
  claimDeliveries(
    lease: { readonly owner: string; readonly ms: number },
    limit: number,
  ): Promise<readonly OutgoingDelivery[]>;
  /** Notes how an attempt ended; false when the lease went to another meanwhile. */
  settleDelivery(id: string, owner: string, outcome: SendOutcome): Promise<boolean>;
}

/** How an attempt ended: done, to be tried again, or given up. */
export type SendOutcome =
  | { readonly state: 'delivered' }
  | { readonly state: 'pending'; readonly nextAttemptAt: number; readonly error: string }
  | { readonly state: 'dead'; readonly error: string };

/** Which receivers are allowed; strict when absent. */
export interface ReceiverRules {
  /** Also addresses of this machine and of private networks: for receivers of your own beside the service. */
  readonly allowPrivateNetworks?: boolean;
  /** Also `http:`; what is sent can be read on its way then. */
  readonly allowHttp?: boolean;
}

/** Options of {@link createWebhookSender}. */
export interface WebhookSenderOptions extends ReceiverRules {
  readonly outbox: WebhookOutbox;
  /**
   * Secrets (`whsec_…`) to sign a message with, the newest first. To change one, give both until every receiver knows the
   * new one.
   */
  readonly secrets: (delivery: OutgoingDelivery) => readonly string[];
  /** Name of this service to the outbox; unique to the process. */
  readonly owner: string;
  readonly clock?: Clock;
  /** Messages on their way at once; 8 when absent. */
  readonly concurrency?: number;
  /** Milliseconds between two looks into the outbox when nobody calls {@link WebhookSender.wake}; 5 s when absent. */
  readonly idleMs?: number;
  /** Sends instead of a client that connects only to what the rules allow. For tests. */
  readonly http?: HttpClient;
  readonly onAttempt?: (delivery: OutgoingDelivery, outcome: SendOutcome) => void;
  /** The outbox failed; it is asked again later. */
  readonly onProblem?: (error: unknown) => void;
}

/** Sends the messages of an outbox. */
export interface WebhookSender extends AsyncDisposable {
  /** Begins; {@link WebhookSender.deliverDue} does the same once, for those who have a rhythm of their own. */
  start(): void;
  /** Looks into the outbox now, because something was put there. */
  wake(): void;
  /** Sends what is due now, and says how many that were. */
  deliverDue(): Promise<number>;
  /** Ends attempts under way; their messages are due again when their lease ends. */
  close(): Promise<void>;
}

/**
 * Whether a receiver may be sent anything. Names are judged again when they are resolved, at every connection.
 *
 * @throws {ComfyUIServiceError} `untrusted_url`.
 */
export function checkReceiverUrl(url: string, rules: ReceiverRules = {}): URL {
  const refuse = (why: string, hint?: string): ComfyUIServiceError =>
    new ComfyUIServiceError('untrusted_url', `Webhooks are not sent to this address: ${why}.`, { hint });
  if (!URL.canParse(url)) throw refuse('it is no URL');
  const parsed = new URL(url);
  const isAllowed = parsed.protocol === 'https:' || (parsed.protocol === 'http:' && rules.allowHttp === true);
  if (!isAllowed) throw refuse('it is not https', 'Use https, or set allowHttp for receivers of your own.');
  if (parsed.username !== '' || parsed.password !== '') throw refuse('it holds credentials');
  if (rules.allowPrivateNetworks !== true && isAddress(parsed.hostname) && !isPublicAddress(parsed.hostname))
    throw refuse(`${parsed.hostname} is not public`, 'Set allowPrivateNetworks for receivers of your own.');
  return parsed;
}

/** Makes the sender of one service. Several may share an outbox. */
export function createWebhookSender(options: WebhookSenderOptions): WebhookSender {
  const { outbox, owner, secrets, concurrency = 8, idleMs = 5 * SECOND, onAttempt, onProblem } = options;
  const clock = options.clock ?? systemClock;
  const network = options.allowPrivateNetworks === true ? 'any' : 'public';
  const http = options.http ?? createHttpClient({ network });
  const closed = new AbortController();
  let cancelTimer: (() => void) | undefined;
  let started = false;
  let running: Promise<void> | undefined;
  let woken = Promise.withResolvers<undefined>();
  let isMore = false;

  async function attempt(delivery: OutgoingDelivery): Promise<void> {
    let outcome: SendOutcome;
    try {
      outcome = await send(delivery);
    } catch (error) {
      // Its lease ends, and it is sent again.
      if (closed.signal.aborted) return;
      outcome = afterError(delivery, error);
    }
    await outbox.settleDelivery(delivery.id, owner, outcome);
    onAttempt?.(delivery, outcome);
  }

  async function send(delivery: OutgoingDelivery): Promise<SendOutcome> {
    const { id, payload: body } = delivery;
    const url = allowedUrl(delivery);
    if (!(url instanceof URL)) return url;
    const headers = {
      'content-type': 'application/json',
      'user-agent': 'ryla-webhooks/1',
      ...signWebhook({ id, sentAt: clock.now(), body }, secrets(delivery)),
    };
    const late = new AbortController();
    const clear = clock.setTimer(ANSWER_TIMEOUT_MS, () =>
      late.abort(new Error(`no answer within ${ANSWER_TIMEOUT_MS / SECOND} s`)),
    );
    const signal = AbortSignal.any([closed.signal, late.signal]);
    try {
      const answer = await http.send({ method: 'POST', url, headers, body, signal });
      const { statusCode } = answer;
      const asked = retryAfter(answer, clock.now());
      await answer.body.dump(ANSWER_BYTES);
      if (statusCode >= 200 && statusCode < 300) return { state: 'delivered' };
      if (statusCode === 410) return { state: 'dead', error: 'status 410: the receiver wants no more' };
      return later(delivery, `status ${statusCode}`, asked);
    } finally {
      clear();
    }
  }

  /** An address that will never be allowed is not tried again. */
  function allowedUrl({ url }: OutgoingDelivery): URL | SendOutcome {
    try {
      return checkReceiverUrl(url, options);
    } catch (error) {
      return { state: 'dead', error: error instanceof Error ? error.message : String(error) };
    }
  }

  function afterError(delivery: OutgoingDelivery, error: unknown): SendOutcome {
    const message = error instanceof Error ? error.message : String(error);
    // An id that cannot be signed stays so; what a name resolves to, or the secrets, may be mended.
    const isFinal = ComfyUIServiceError.isInstance(error) && error.code === 'invalid_input';
    if (isFinal) return { state: 'dead', error: message };
    return later(delivery, message, undefined);
  }

  function later({ attempts }: OutgoingDelivery, error: string, askedMs: number | undefined): SendOutcome {
    const planned = RETRY_SCHEDULE_MS[attempts - 1];
    if (planned === undefined)
      return { state: 'dead', error: `${error}; given up after ${attempts} attempts` };
    const wanted = Math.max(planned, Math.min(askedMs ?? 0, HOUR));
    return { state: 'pending', nextAttemptAt: clock.now() + wanted * (1 + 0.1 * clock.random()), error };
  }

  async function deliverDue(): Promise<number> {
    // The lease is longer than an attempt can take, settling included.
    const lease = { owner, ms: 3 * ANSWER_TIMEOUT_MS };
    const underWay = new Set<Promise<void>>();
    let sent = 0;
    isMore = true;
    for (;;) {
      // A slow receiver holds one place only; the others are filled again as they get free.
      while (isMore && underWay.size < concurrency && !closed.signal.aborted) {
        const free = concurrency - underWay.size;
        isMore = false;
        const due = await claim(lease, free);
        isMore ||= due.length === free;
        sent += due.length;
        for (const delivery of due) {
          const attempted = attempt(delivery)
            .catch(report)
            .finally(() => underWay.delete(attempted));
          underWay.add(attempted);
        }
      }
      if (underWay.size === 0) return sent;
      await Promise.race([...underWay, woken.promise]);
    }
  }

  async function claim(
    lease: Parameters<WebhookOutbox['claimDeliveries']>[0],
    limit: number,
  ): Promise<readonly OutgoingDelivery[]> {
    try {
      return await outbox.claimDeliveries(lease, limit);
    } catch (error) {
      report(error);
      return [];
    }
  }

  /** Nobody waits for the sender: what the application's own function throws goes no further. */
  function report(error: unknown): void {
    try {
      onProblem?.(error);
    } catch (thrown) {
      process.emitWarning(thrown instanceof Error ? thrown : String(thrown));
    }
  }

  function loop(): void {
    if (!started || closed.signal.aborted) return;
    isMore = true;
    woken.resolve(undefined);
    woken = Promise.withResolvers();
    if (running !== undefined) return;
    cancelTimer?.();
    running = deliverDue().then(() => {
      running = undefined;
      if (!closed.signal.aborted) cancelTimer = clock.setTimer(isMore ? 0 : idleMs, loop);
    });
  }

  const sender: WebhookSender = {
    start() {
      started = true;
      loop();
    },
    wake: loop,
    deliverDue,
    async close() {
      if (closed.signal.aborted) return;
      closed.abort(new Error('The webhook sender was closed.'));
      cancelTimer?.();
      await running;
      if (options.http === undefined) await http.close();
    },
    [Symbol.asyncDispose]: () => sender.close(),
  };
  return sender;
}

/**
 * A message about a job, for the outbox: the same id for the same job and type, so that it is stored once. Thin, as
 * Standard Webhooks recommends: the receiver asks for the rest.
 *
 * @param type such as `job.succeeded`.
 * @param at when it happened; milliseconds since 1970.
 */
export function jobMessage(
  jobId: string,
  type: string,
  at: number,
  url: string,
): { readonly id: string; readonly url: string; readonly payload: string } {
  const payload = JSON.stringify({ type, timestamp: new Date(at).toISOString(), data: { jobId } });
  return { id: `msg_${jobId}_${type.replaceAll('.', '_')}`, url, payload };
}
