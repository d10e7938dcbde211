import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';

import { z } from 'zod';

import type { Clock } from '../clock.ts';
import { isJobSecret } from './job-secret.ts';
import { verifyWebhook } from './standard-webhooks.ts';

/**
 * Largest bodies, in bytes. RunPod sends the whole job: an input of 10 MB and an output of 20 MB at most (its limits for
 * /run and /runsync). Ours holds ids only; Standard Webhooks recommends less than 20 kB.
 */
export const LARGEST_BODY = { runpod: 32 * 1024 * 1024, signed: 64 * 1024 } as const;

/** Deliveries whose notice failed that are remembered, so that the sender's next attempt is not taken for a replay. */
const UNAPPLIED_KEPT = 10_000;

/** A webhook that is proved to be about a job. It says that something happened, not what: ask the backend. */
export interface WebhookNotice {
  readonly jobId: string;
  readonly from: 'runpod' | 'signed';
  /** Unique to what was sent. */
  readonly deliveryId: string;
  /** The body as JSON; undefined when it is none. Not checked in any way. */
  readonly envelope: unknown;
}

/** Options of {@link createWebhookHandler}. */
export interface WebhookHandlerOptions {
  /** Path under which it is reached, such as `/webhooks`. */
  readonly path: string;
  /**
   * For `POST <path>/runpod/<job>/<secret>`: the service's secrets, `whsec_…`, the newest first. Without them that
   * address does not exist.
   */
  readonly runpodSecrets?: readonly string[];
  /** For `POST <path>/signed`: secrets of Standard Webhooks. Without them that address does not exist. */
  readonly signingSecrets?: readonly string[];
  /** Look at the job. May come twice, late, and out of order; a rejection makes the sender try again. */
  readonly onNotice: (notice: WebhookNotice) => void | Promise<void>;
  /**
   * Remembers a delivery: true the first time, false from then on. A crash right after it loses a notice only: whoever
   * starts again looks at every unfinished job.
   */
  readonly rememberDelivery: (deliveryId: string) => Promise<boolean>;
  readonly clock?: Pick<Clock, 'now'>;
  /** Hears why a request was refused or failed; the sender does not. */
  readonly onProblem?: (problem: {
    readonly status: number;
    readonly reason: string;
    readonly cause?: unknown;
  }) => void;
}

/** Answers a request of any framework. */
export type WebhookHandler = (request: Request) => Promise<Response>;

const signedBody = z.looseObject({ data: z.looseObject({ jobId: z.string().min(1) }) });

class Refusal extends Error {
  readonly status: number;

  constructor(status: number, reason: string) {
    super(reason);
    this.status = status;
  }
}

/**
 * Makes the handler of webhooks from backends. It answers 204 when a notice was taken or is known already, 401 for
 * anything that is not proved (whether the job exists or not), 400, 404, 405 and 413 as HTTP has them, and 500 when
 * the notice failed. Bodies of answers are empty.
 */
export function createWebhookHandler(options: WebhookHandlerOptions): WebhookHandler {
  const { runpodSecrets = [], signingSecrets = [], onProblem } = options;
  const clock = options.clock ?? { now: Date.now };
  const base = `/${options.path.replaceAll(/^\/+|\/+$/g, '')}`.replace(/^\/$/, '');
  const unapplied = new Set<string>();

  async function noticeOf(request: Request): Promise<WebhookNotice> {
    const { pathname } = new URL(request.url);
    const [kind, ...rest] = pathname.startsWith(`${base}/`) ? pathname.slice(base.length + 1).split('/') : [];
    const isRunpod = kind === 'runpod' && rest.length === 2 && runpodSecrets.length > 0;
    const isSigned = kind === 'signed' && rest.length === 0 && signingSecrets.length > 0;
    if (!isRunpod && !isSigned) throw new Refusal(404, 'unknown_path');
    if (request.method !== 'POST') throw new Refusal(405, 'wrong_method');
    return isRunpod ? fromRunpod(request, rest) : fromOurs(request);
  }

  async function fromRunpod(request: Request, [id = '', secret = '']: string[]): Promise<WebhookNotice> {
    const jobId = decoded(id);
    // Before a byte of the body is read: strangers must not make us work.
    if (!isJobSecret(secret, jobId, runpodSecrets)) throw new Refusal(401, 'wrong_secret');
    const body = await bodyOf(request, LARGEST_BODY.runpod);
    // RunPod gives deliveries no id; its retries send the same bytes again.
    const deliveryId = `runpod:${jobId}:${createHash('sha256').update(body).digest('hex')}`;
    return { jobId, from: 'runpod', deliveryId, envelope: jsonOf(body) };
  }

  async function fromOurs(request: Request): Promise<WebhookNotice> {
    const body = await bodyOf(request, LARGEST_BODY.signed);
    const verified = verifyWebhook({ headers: request.headers, body }, signingSecrets, clock.now());
    if (!verified.ok) throw new Refusal(401, verified.reason);
    const envelope = signedBody.safeParse(jsonOf(body));
    if (!envelope.success) throw new Refusal(400, 'malformed_body');
    const { jobId } = envelope.data.data;
    return { jobId, from: 'signed', deliveryId: `signed:${verified.id}`, envelope: envelope.data };
  }

  async function take(notice: WebhookNotice): Promise<void> {
    const { deliveryId } = notice;
    const isNew = await options.rememberDelivery(deliveryId);
    if (!isNew && !unapplied.has(deliveryId)) return;
    try {
      await options.onNotice(notice);
      unapplied.delete(deliveryId);
    } catch (error) {
      unapplied.add(deliveryId);
      const [oldest] = unapplied;
      if (unapplied.size > UNAPPLIED_KEPT && oldest !== undefined) unapplied.delete(oldest);
      throw error;
    }
  }

  return async (request) => {
    try {
      await take(await noticeOf(request));
      return new Response(null, { status: 204 });
    } catch (error) {
      if (error instanceof Refusal) {
        onProblem?.({ status: error.status, reason: error.message });
        const headers: Readonly<Record<string, string>> = error.status === 405 ? { allow: 'POST' } : {};
        return new Response(null, { status: error.status, headers });
      }
      onProblem?.({ status: 500, reason: 'failed', cause: error });
      return new Response(null, { status: 500 });
    }
  };
}

async function bodyOf(request: Request, limit: number): Promise<Uint8Array> {
  if (Number(request.headers.get('content-length') ?? 0) > limit) throw new Refusal(413, 'too_large');
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    const body: AsyncIterable<Uint8Array> = request.body ?? Readable.from([]);
    for await (const piece of body) {
      size += piece.length;
      if (size > limit) break;
      pieces.push(piece);
    }
  } catch {
    throw new Refusal(400, 'cut_short');
  }
  if (size > limit) throw new Refusal(413, 'too_large');
  return Buffer.concat(pieces);
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new Refusal(404, 'unknown_path');
  }
}

function jsonOf(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    return undefined;
  }
}
