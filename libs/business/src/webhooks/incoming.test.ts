import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import { connect } from 'node:net';

import { describe, expect, it } from 'vitest';

import { ManualClock } from '../testing/manual-clock.ts';
import {
  createWebhookHandler,
  LARGEST_BODY,
  type WebhookHandlerOptions,
  type WebhookNotice,
} from './incoming.ts';
import { jobSecret, runpodWebhookUrl } from './job-secret.ts';
import { nodeListener } from './node-listener.ts';
import { createWebhookSecret, signWebhook } from './standard-webhooks.ts';

const SERVICE = createWebhookSecret();
const OLD = createWebhookSecret();
const SIGNING = createWebhookSecret();
const JOB = '1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed';
const BASE = 'https://app.example/webhooks';

function handler(changes: Partial<WebhookHandlerOptions> = {}): {
  readonly handle: (request: Request) => Promise<number>;
  readonly notices: WebhookNotice[];
  readonly reasons: string[];
  readonly clock: ManualClock;
  readonly options: WebhookHandlerOptions;
} {
  const clock = new ManualClock();
  const notices: WebhookNotice[] = [];
  const reasons: string[] = [];
  const seen = new Set<string>();
  const options: WebhookHandlerOptions = {
    path: '/webhooks/',
    runpodSecrets: [SERVICE, OLD],
    signingSecrets: [SIGNING],
    onNotice: (notice) => void notices.push(notice),
    rememberDelivery: (id) => Promise.resolve(!seen.has(id) && Boolean(seen.add(id))),
    clock,
    onProblem: ({ reason }) => reasons.push(reason),
    ...changes,
  };
  const answer = createWebhookHandler(options);
  const handle = async (request: Request): Promise<number> => {
    const response = await answer(request);
    expect(await response.text()).toBe('');
    return response.status;
  };
  return { handle, notices, reasons, clock, options };
}

function post(
  url: string,
  body: string | ReadableStream = '{}',
  headers: Record<string, string> = {},
): Request {
  return new Request(url, { method: 'POST', body, headers, duplex: 'half' });
}

function signed(clock: ManualClock, body: string, id = 'msg_1', secret = SIGNING): Request {
  const headers = signWebhook({ id, sentAt: clock.now(), body }, [secret]);
  return post(`${BASE}/signed`, body, { ...headers });
}

describe('a webhook from RunPod', () => {
  it('is a notice about its job, with the envelope unchecked beside it', async () => {
    const { handle, notices } = handler();
    const envelope = { id: 'r-1', status: 'COMPLETED', output: { images: [] } };
    expect(await handle(post(runpodWebhookUrl(BASE, JOB, SERVICE), JSON.stringify(envelope)))).toBe(204);
    expect(notices).toEqual([
      {
        jobId: JOB,
        from: 'runpod',
        envelope,
        deliveryId: expect.stringContaining(`runpod:${JOB}:`) as string,
      },
    ]);
    expect(await handle(post(runpodWebhookUrl(BASE, JOB, SERVICE), 'no JSON'))).toBe(204);
    expect(notices[1]?.envelope).toBeUndefined();
  });

  it('is proved by the secret of its job, made by this or the last service secret', async () => {
    const { handle, notices, reasons } = handler();
    const other = '7f000000-bbfd-4b2d-9b5d-ab8dfbbd4bed';
    expect(await handle(post(runpodWebhookUrl(BASE, JOB, OLD)))).toBe(204);
    for (const secret of [jobSecret(other, SERVICE), jobSecret(JOB, createWebhookSecret()), 'x', SERVICE])
      expect(await handle(post(`${BASE}/runpod/${JOB}/${encodeURIComponent(secret)}`))).toBe(401);
    expect(notices).toHaveLength(1);
    expect(new Set(reasons)).toEqual(new Set(['wrong_secret']));
  });

  it('is refused before its body is read when the secret is wrong', async () => {
    const { handle } = handler();
    let pulled = 0;
    const body = new ReadableStream(
      {
        pull: (controller) => {
          pulled += 1;
          controller.enqueue(new Uint8Array(1024));
        },
      },
      { highWaterMark: 0 },
    );
    expect(await handle(post(`${BASE}/runpod/${JOB}/wrong`, body))).toBe(401);
    expect(pulled).toBe(0);
  });

  it('may be as large as a job of RunPod and no larger, whatever it says of its length', async () => {
    const { handle } = handler();
    const url = runpodWebhookUrl(BASE, JOB, SERVICE);
    const tooMany = String(LARGEST_BODY.runpod + 1);
    expect(await handle(post(url, 'x', { 'content-length': tooMany }))).toBe(413);
    let sent = 0;
    const endless = new ReadableStream({
      pull: (controller) => {
        sent += 1 << 20;
        controller.enqueue(new Uint8Array(1 << 20));
      },
    });
    expect(await handle(post(url, endless))).toBe(413);
    expect(sent).toBeLessThan(LARGEST_BODY.runpod + (8 << 20));
  });
});

describe('a signed webhook', () => {
  const body = JSON.stringify({ type: 'job.succeeded', data: { jobId: JOB } });

  it('is a notice about the job that it names', async () => {
    const { handle, notices, clock } = handler();
    expect(await handle(signed(clock, body))).toBe(204);
    expect(notices).toMatchObject([{ jobId: JOB, from: 'signed', deliveryId: 'signed:msg_1' }]);
  });

  it('is refused without a word when it is forged, stale or about nothing', async () => {
    const { handle, notices, reasons, clock } = handler();
    expect(await handle(signed(clock, body, 'msg_1', createWebhookSecret()))).toBe(401);
    expect(await handle(post(`${BASE}/signed`, body))).toBe(401);
    const early = signed(clock, body);
    clock.advance(301_000);
    expect(await handle(early)).toBe(401);
    for (const wrong of ['no JSON', '{}', '{"data":{"jobId":7}}'])
      expect(await handle(signed(clock, wrong))).toBe(400);
    expect(await handle(signed(clock, 'x'.repeat(LARGEST_BODY.signed + 1)))).toBe(413);
    expect(notices).toEqual([]);
    expect(reasons).toEqual([
      'wrong_signature',
      'missing_header',
      'stale',
      'malformed_body',
      'malformed_body',
      'malformed_body',
      'too_large',
    ]);
  });
});

describe('deliveries', () => {
  it('that come again are known already, and those that come out of order are notices all the same', async () => {
    const { handle, notices, clock } = handler();
    const url = runpodWebhookUrl(BASE, JOB, SERVICE);
    for (const status of ['COMPLETED', 'IN_PROGRESS', 'COMPLETED', 'COMPLETED'])
      expect(await handle(post(url, JSON.stringify({ status })))).toBe(204);
    const body = JSON.stringify({ data: { jobId: JOB } });
    for (const id of ['msg_1', 'msg_1', 'msg_2']) expect(await handle(signed(clock, body, id))).toBe(204);
    expect(notices.map(({ from }) => from)).toEqual(['runpod', 'runpod', 'signed', 'signed']);
  });

  it('whose notice failed are taken when the sender tries again', async () => {
    let fails = true;
    const noticed: string[] = [];
    const { handle, reasons } = handler({
      onNotice: ({ jobId }) => {
        if (fails) throw new Error('not now');
        noticed.push(jobId);
      },
    });
    const url = runpodWebhookUrl(BASE, JOB, SERVICE);
    expect(await handle(post(url))).toBe(500);
    fails = false;
    expect(await handle(post(url))).toBe(204);
    expect(await handle(post(url))).toBe(204);
    expect(noticed).toEqual([JOB]);
    expect(reasons).toEqual(['failed']);
  });

  it('that the store cannot remember are to be sent again', async () => {
    const { handle, notices } = handler({ rememberDelivery: () => Promise.reject(new Error('disk full')) });
    expect(await handle(post(runpodWebhookUrl(BASE, JOB, SERVICE)))).toBe(500);
    expect(notices).toEqual([]);
  });
});

describe('other requests', () => {
  it.each([
    ['GET', '/webhooks/signed', 405],
    ['PUT', `/webhooks/runpod/${JOB}/x`, 405],
    ['POST', '/webhooks', 404],
    ['POST', '/webhooks/', 404],
    ['POST', '/webhooksigned', 404],
    ['POST', '/signed', 404],
    ['POST', '/webhooks/other', 404],
    ['POST', `/webhooks/runpod/${JOB}`, 404],
    ['POST', `/webhooks/runpod/${JOB}/x/y`, 404],
    ['POST', '/webhooks/runpod/%E0%A4%A/x', 404],
  ])('%s %s is %i', async (method, path, status) => {
    const { handle } = handler();
    expect(await handle(new Request(`https://app.example${path}`, { method }))).toBe(status);
  });

  it('for what has no secrets find nothing', async () => {
    const { handle, clock } = handler({ runpodSecrets: [], signingSecrets: [] });
    expect(await handle(post(`${BASE}/runpod/${JOB}/${jobSecret(JOB, SERVICE)}`))).toBe(404);
    expect(await handle(signed(clock, '{}'))).toBe(404);
  });
});

describe('under node:http', () => {
  async function served(work: (port: number, notices: WebhookNotice[]) => Promise<void>): Promise<void> {
    const { options, notices } = handler();
    const server = createServer(nodeListener(createWebhookHandler(options)));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('The server has no port.');
    try {
      await work(address.port, notices);
    } finally {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    }
  }

  it('takes bodies with and without a length', () =>
    served(async (port, notices) => {
      const url = new URL(runpodWebhookUrl(`http://127.0.0.1:${port}/webhooks`, JOB, SERVICE));
      const chunked = new ReadableStream({
        start(controller) {
          controller.enqueue(Buffer.from('{"status":'));
          controller.enqueue(Buffer.from('"COMPLETED"}'));
          controller.close();
        },
      });
      const bodies = ['{"status":"FAILED"}', chunked];
      for (const body of bodies)
        expect((await fetch(url, { method: 'POST', body, duplex: 'half' })).status).toBe(204);
      expect(notices.map(({ envelope }) => envelope)).toEqual([
        { status: 'FAILED' },
        { status: 'COMPLETED' },
      ]);
      expect((await fetch(url)).headers.get('allow')).toBe('POST');
    }));

  it('cuts off a stranger who goes on sending', () =>
    served(async (port) => {
      const sending = httpRequest({ port, path: `/webhooks/runpod/${JOB}/wrong`, method: 'POST' });
      sending.on('error', () => undefined);
      sending.write('x'.repeat(1024));
      const [response] = (await once(sending, 'response')) as [{ statusCode: number; resume: () => void }];
      expect(response.statusCode).toBe(401);
      response.resume();
      await once(sending, 'close');
    }));

  it('outlives requests whose address is none, and senders that go away', () =>
    served(async (port, notices) => {
      const socket = connect(port, '127.0.0.1');
      socket.write('POST http://[ HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}');
      const [answer] = (await once(socket, 'data')) as [Buffer];
      expect(answer.toString()).toMatch(/^HTTP\/1.1 400/);
      socket.destroy();
      const gone = connect(port, '127.0.0.1');
      const { pathname } = new URL(runpodWebhookUrl(BASE, JOB, SERVICE));
      gone.write(`POST ${pathname} HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n\r\n{}`);
      await once(gone, 'connect');
      gone.destroy();
      const url = runpodWebhookUrl(`http://127.0.0.1:${port}/webhooks`, JOB, SERVICE);
      expect((await fetch(url, { method: 'POST', body: '{}' })).status).toBe(204);
      expect(notices).toHaveLength(1);
    }));
});
