import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

import { UsageError } from '../exit-codes.ts';

/** Name of the environment variable that holds the token of `ryla mcp --http`. */
export const TOKEN_VARIABLE = 'RYLA_MCP_TOKEN';

/** Characters that a token has at least: one that can be guessed protects nothing. */
const SHORTEST = 16;

/** The token that clients must send, and whether it was made up just now. */
export function bearerToken(env: Readonly<Record<string, string | undefined>>): {
  readonly token: string;
  readonly isNew: boolean;
} {
  const token = env[TOKEN_VARIABLE];
  if (token === undefined || token === '')
    return { token: randomBytes(32).toString('base64url'), isNew: true };
  if (token.length < SHORTEST || !/^[\x21-\x7e]+$/.test(token))
    throw new UsageError(
      `${TOKEN_VARIABLE} must have ${SHORTEST} characters at least, without spaces. Unset it to have one made.`,
    );
  return { token, isNew: false };
}

/** Whether an Authorization header carries the token; takes as long whatever is wrong with it. */
export function isAuthorized(header: string | undefined, token: string): boolean {
  const [, given = ''] = /^Bearer +(\S+)$/i.exec(header ?? '') ?? [];
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
