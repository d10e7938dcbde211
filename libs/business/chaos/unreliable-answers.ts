/** What a network and servers that fail make of answers, as told and seeded. */
import type { ServerResponse } from 'node:http';

import { json } from '../src/testing/http-stand-in.ts';

/** Shares (0 to 1) of requests to which each fault happens. */
export interface FaultRates {
  readonly resetBefore: number;
  readonly resetAfter: number;
  readonly throttle: number;
  readonly throttleWithRetryAfter: number;
  readonly serverErrorBefore: number;
  readonly serverErrorAfter: number;
  readonly truncated: number;
  readonly malformed: number;
  readonly slowHeaders: number;
  readonly stalledBody: number;
  readonly duplicateWebhook: number;
  readonly lateWebhook: number;
  readonly lostWebhook: number;
  /** A worker dies with a job in its hands. */
  readonly workerLost: number;
}

/** No fault at all. */
export const NO_FAULTS: FaultRates = {
  resetBefore: 0,
  resetAfter: 0,
  throttle: 0,
  throttleWithRetryAfter: 0,
  serverErrorBefore: 0,
  serverErrorAfter: 0,
  truncated: 0,
  malformed: 0,
  slowHeaders: 0,
  stalledBody: 0,
  duplicateWebhook: 0,
  lateWebhook: 0,
  lostWebhook: 0,
  workerLost: 0,
};

/** Each fault a few times in a hundred. */
export const MANY_FAULTS: FaultRates = {
  resetBefore: 0.03,
  resetAfter: 0.03,
  throttle: 0.02,
  throttleWithRetryAfter: 0.02,
  serverErrorBefore: 0.02,
  serverErrorAfter: 0.02,
  truncated: 0.02,
  malformed: 0.02,
  slowHeaders: 0.01,
  stalledBody: 0.005,
  duplicateWebhook: 0.1,
  lateWebhook: 0.1,
  lostWebhook: 0.1,
  workerLost: 0.02,
};

/** Options of {@link unreliableAnswers}. */
export interface UnreliableOptions {
  readonly random: () => number;
  readonly rates: FaultRates;
  /** Milliseconds by which slow headers are late, and after which a stalled body is cut. */
  readonly slowMs: number;
}

/** An answer as it is on the way: JSON, or bytes with their headers. */
export interface RawAnswer {
  readonly bytes: Buffer;
  readonly headers: Readonly<Record<string, string>>;
}

/** A network and a server that fail. */
export interface UnreliableAnswers {
  /** Faults that happened, by name. */
  readonly injected: ReadonlyMap<string, number>;
  readonly requests: number;
  /** Whether a fault happens this time. */
  readonly strikes: (name: keyof FaultRates) => boolean;
  /** What happens before the request is looked at; false when it never is, and was answered. */
  arrives(response: ServerResponse): boolean;
  /** Answers after the server has done what was asked. */
  answer(response: ServerResponse, status: number, body: object): void;
  answerRaw(response: ServerResponse, status: number, answer: RawAnswer): void;
}

const TOO_MANY = { error: { code: 'rate_limited', message: 'slow down' } };

/** Makes answers unreliable. */
export function unreliableAnswers({ random, rates, slowMs }: UnreliableOptions): UnreliableAnswers {
  const injected = new Map<string, number>();
  let requests = 0;

  function strikes(name: keyof FaultRates): boolean {
    if (random() >= rates[name]) return false;
    injected.set(name, (injected.get(name) ?? 0) + 1);
    return true;
  }

  function respond(response: ServerResponse, status: number, { bytes, headers }: RawAnswer): void {
    const whole = (): unknown =>
      response.writeHead(status, { ...headers, 'content-length': bytes.length }).end(bytes);
    if (strikes('truncated')) {
      response.writeHead(status, { ...headers, 'content-length': bytes.length });
      response.write(bytes.subarray(0, bytes.length / 2), () => response.destroy());
    } else if (strikes('malformed')) {
      response.writeHead(status, { 'content-type': 'application/json' }).end('<html>502</html>');
    } else if (strikes('stalledBody')) {
      response.writeHead(status, { 'content-type': 'application/json', 'content-length': 1_000 });
      response.write('{"id":');
      setTimeout(() => response.destroy(), slowMs).unref();
    } else if (strikes('slowHeaders')) setTimeout(whole, slowMs).unref();
    else whole();
  }

  const answers: UnreliableAnswers = {
    injected,
    get requests() {
      return requests;
    },
    strikes,
    arrives(response) {
      requests += 1;
      if (strikes('resetBefore')) response.destroy();
      else if (strikes('throttle')) json(response, 429, TOO_MANY);
      else if (strikes('throttleWithRetryAfter')) json(response, 429, TOO_MANY, { 'retry-after': '1' });
      else if (strikes('serverErrorBefore'))
        json(response, 503, { error: { code: 'unavailable', message: 'not now' } });
      else return true;
      return false;
    },
    answer(response, status, body) {
      const bytes = Buffer.from(JSON.stringify(body));
      answers.answerRaw(response, status, { bytes, headers: { 'content-type': 'application/json' } });
    },
    answerRaw(response, status, answer) {
      if (strikes('resetAfter')) response.destroy();
      else if (strikes('serverErrorAfter'))
        json(response, 500, { error: { code: 'internal', message: 'it broke' } });
      else respond(response, status, answer);
    },
  };
  return answers;
}
