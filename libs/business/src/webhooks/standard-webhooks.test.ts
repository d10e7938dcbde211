import { randomBytes } from 'node:crypto';

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import {
  createWebhookSecret,
  parseWebhookSecret,
  signWebhook,
  type Verification,
  verifyWebhook,
} from './standard-webhooks.ts';

/** The test vector of the reference implementations. */
const VECTOR = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  sentAt: 1_614_265_330_000,
  body: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
};

function check(
  changes: Record<string, string | undefined> = {},
  later = 0,
  body = VECTOR.body,
): Verification {
  const headers = new Headers();
  const signed: Record<string, string | undefined> = { ...signWebhook(VECTOR, [VECTOR.secret]), ...changes };
  for (const [name, value] of Object.entries(signed)) if (value !== undefined) headers.set(name, value);
  return verifyWebhook({ headers, body: Buffer.from(body) }, [VECTOR.secret], VECTOR.sentAt + later);
}

describe('Standard Webhooks', () => {
  it('signs as the reference implementations do', () => {
    expect(signWebhook(VECTOR, [VECTOR.secret])).toEqual({
      'webhook-id': VECTOR.id,
      'webhook-timestamp': '1614265330',
      'webhook-signature': VECTOR.signature,
    });
    expect(check()).toEqual({ ok: true, id: VECTOR.id, sentAt: VECTOR.sentAt });
  });

  it.each([
    ['no id', { 'webhook-id': undefined }, 'missing_header'],
    ['no time', { 'webhook-timestamp': undefined }, 'missing_header'],
    ['no signature', { 'webhook-signature': undefined }, 'missing_header'],
    ['a time that is none', { 'webhook-timestamp': 'hello' }, 'malformed_header'],
    ['a time with something behind it', { 'webhook-timestamp': '1614265330x' }, 'malformed_header'],
    ['an id that moves the full stop', { 'webhook-id': 'msg.1614265330' }, 'malformed_header'],
    ['another id', { 'webhook-id': 'msg_other' }, 'wrong_signature'],
    ['another time', { 'webhook-timestamp': '1614265331' }, 'wrong_signature'],
    ['a part of the signature', { 'webhook-signature': VECTOR.signature.slice(0, 8) }, 'wrong_signature'],
    ['an empty signature', { 'webhook-signature': 'v1,' }, 'wrong_signature'],
    [
      'a signature of another version',
      { 'webhook-signature': VECTOR.signature.replace('v1', 'v2') },
      'wrong_signature',
    ],
  ])('refuses %s', (_name, changes, reason) => {
    expect(check(changes)).toEqual({ ok: false, reason });
  });

  it('finds its signature among others', () => {
    const other = 'v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=';
    const all = [other, other.replace('v1', 'v2'), VECTOR.signature, 'v1a,xyz', other].join(' ');
    expect(check({ 'webhook-signature': all }).ok).toBe(true);
  });

  it('takes five minutes more or less, to the second', () => {
    expect([-300_000, 300_000, 300_999].map((later) => check({}, later).ok)).toEqual([true, true, true]);
    expect([-300_001, 301_000].map((later) => check({}, later))).toEqual([
      { ok: false, reason: 'stale' },
      { ok: false, reason: 'stale' },
    ]);
  });

  it('lets secrets change without a message lost', () => {
    const [old, young] = [createWebhookSecret(), createWebhookSecret()];
    const verifies = (signedBy: readonly string[], known: readonly string[]): boolean => {
      const headers = new Headers(Object.entries(signWebhook(VECTOR, signedBy)));
      return verifyWebhook({ headers, body: Buffer.from(VECTOR.body) }, known, VECTOR.sentAt).ok;
    };
    expect(verifies([young, old], [old])).toBe(true);
    expect(verifies([young, old], [young])).toBe(true);
    expect(verifies([old], [young, old])).toBe(true);
    expect(verifies([old], [young])).toBe(false);
  });

  it('checks the bytes that came, text or not, and notices any change of them', () => {
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(bytes, fc.nat(), fc.integer({ min: 1, max: 255 }), (body, at, change) => {
        const secret = createWebhookSecret();
        const headers = new Headers(Object.entries(signWebhook({ id: 'm', sentAt: 0, body }, [secret])));
        expect(verifyWebhook({ headers, body }, [secret], 0).ok).toBe(true);
        const index = at % body.length;
        const changed = body.with(index, (body[index] ?? 0) ^ change);
        expect(verifyWebhook({ headers, body: changed }, [secret], 0).ok).toBe(false);
      }),
    );
  });

  it('takes secrets of 24 to 64 bytes and does not tell a wrong one', () => {
    const secret = (bytes: number): string => `whsec_${randomBytes(bytes).toString('base64')}`;
    expect([24, 64].map((bytes) => parseWebhookSecret(secret(bytes)).length)).toEqual([24, 64]);
    const hidden = 'not-base64-but-secret-all-the-same';
    for (const wrong of [secret(23), secret(65), secret(32).slice(6), `whsec_${hidden}`, 'whsec_', ''])
      expect(() => parseWebhookSecret(wrong)).toThrow(
        expect.objectContaining({ code: 'invalid_configuration' }),
      );
    expect(() => parseWebhookSecret(`whsec_${hidden}`)).not.toThrow(hidden);
  });

  it('signs nothing without a secret or under an id with a full stop', () => {
    expect(() => signWebhook(VECTOR, [])).toThrow(expect.objectContaining({ code: 'invalid_configuration' }));
    expect(() => signWebhook({ ...VECTOR, id: 'a.1' }, [VECTOR.secret])).toThrow(
      expect.objectContaining({ code: 'invalid_input' }),
    );
  });
});
