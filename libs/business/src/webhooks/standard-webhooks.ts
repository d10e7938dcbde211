import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

import { ComfyUIServiceError } from '../errors.ts';

/** Bytes of a secret (Standard Webhooks 1.0.0, "Signature scheme": 192 to 512 bits). */
export const SECRET_BYTES = { least: 24, most: 64 } as const;

/** Milliseconds by which a message's time may differ from ours (the tolerance of the reference libraries). */
export const TOLERANCE_MS = 5 * 60 * 1000;

const PREFIX = 'whsec_';

/** The headers of a signed message. */
export interface SignedHeaders {
  readonly 'webhook-id': string;
  readonly 'webhook-timestamp': string;
  readonly 'webhook-signature': string;
}

/** A message to sign. */
export interface WebhookMessage {
  /** The same for every attempt to deliver it; without full stops, because the signature separates by them. */
  readonly id: string;
  /** Moment of this attempt; milliseconds since 1970. */
  readonly sentAt: number;
  /** Exactly the bytes that are sent. */
  readonly body: string | Uint8Array;
}

/** A signed message to check. */
export interface SignedMessage {
  readonly headers: Headers;
  readonly body: Uint8Array;
}

/** What is known of a signed message. Reasons are for logs: they tell a stranger too much. */
export type Verification =
  | { readonly ok: true; readonly id: string; readonly sentAt: number }
  | {
      readonly ok: false;
      readonly reason: 'missing_header' | 'malformed_header' | 'stale' | 'wrong_signature';
    };

/** A new secret, `whsec_…`, of 32 bytes. */
export function createWebhookSecret(): string {
  return PREFIX + randomBytes(32).toString('base64');
}

/**
 * The bytes of a secret.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration`; the secret itself is not in the message.
 */
export function parseWebhookSecret(secret: string): Uint8Array {
  const encoded = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : '';
  const key = Buffer.from(encoded, 'base64');
  const isWhole = key.toString('base64').replaceAll('=', '') === encoded.replaceAll('=', '');
  if (isWhole && key.length >= SECRET_BYTES.least && key.length <= SECRET_BYTES.most) return key;
  throw new ComfyUIServiceError(
    'invalid_configuration',
    `A webhook secret must be ${PREFIX} and the base64 of ${SECRET_BYTES.least} to ${SECRET_BYTES.most} bytes.`,
    { hint: 'createWebhookSecret() makes one.' },
  );
}

/**
 * Headers that prove a message (Standard Webhooks 1.0.0, `v1`). With several secrets it is signed by each: give the new
 * and the old one while receivers change over.
 *
 * Written here and not taken from the `standardwebhooks` package (1.1.1, maintained): that one reads the time from
 * `Date.now`, turns the body into a string first, so that other bytes than those received may be checked, takes one secret
 * of any length, and hashes in JavaScript. What is left of it is one HMAC.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration` for no or a wrong secret, `invalid_input` for a wrong id.
 */
export function signWebhook(message: WebhookMessage, secrets: readonly string[]): SignedHeaders {
  if (secrets.length === 0)
    throw new ComfyUIServiceError('invalid_configuration', 'There is no secret to sign webhooks with.');
  if (!/^[\x21-\x2d\x2f-\x7e]+$/.test(message.id))
    throw new ComfyUIServiceError(
      'invalid_input',
      'The id of a webhook must be ASCII without spaces and full stops.',
    );
  const timestamp = String(Math.floor(message.sentAt / 1000));
  const signatures = secrets.map((secret) => {
    const signature = signatureOf(parseWebhookSecret(secret), message.id, timestamp, message.body);
    return `v1,${signature.toString('base64')}`;
  });
  return {
    'webhook-id': message.id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.join(' '),
  };
}

/**
 * Checks a message against every secret that is valid now. Replays within the tolerance pass: remember the id.
 *
 * @param now milliseconds since 1970.
 * @throws {ComfyUIServiceError} `invalid_configuration` for a wrong secret.
 */
export function verifyWebhook(message: SignedMessage, secrets: readonly string[], now: number): Verification {
  const keys = secrets.map(parseWebhookSecret);
  const id = message.headers.get('webhook-id') ?? '';
  const timestamp = message.headers.get('webhook-timestamp') ?? '';
  const signatures = message.headers.get('webhook-signature') ?? '';
  if (id === '' || timestamp === '' || signatures === '') return { ok: false, reason: 'missing_header' };
  if (!/^\d{1,12}$/.test(timestamp) || id.includes('.')) return { ok: false, reason: 'malformed_header' };
  const sentAt = Number(timestamp) * 1000;
  // Whole seconds on both sides, as those who sign count.
  if (Math.abs(Math.floor(now / 1000) * 1000 - sentAt) > TOLERANCE_MS) return { ok: false, reason: 'stale' };
  const given = signatures
    .split(' ')
    .filter((signature) => signature.startsWith('v1,'))
    .map((signature) => Buffer.from(signature.slice(3), 'base64'));
  const isOurs = keys.some((key) => {
    const expected = signatureOf(key, id, timestamp, message.body);
    return given.some((one) => one.length === expected.length && timingSafeEqual(one, expected));
  });
  return isOurs ? { ok: true, id, sentAt } : { ok: false, reason: 'wrong_signature' };
}

function signatureOf(key: Uint8Array, id: string, timestamp: string, body: string | Uint8Array): Buffer {
  return createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest();
}
