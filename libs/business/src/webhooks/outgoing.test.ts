import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import { afterEach, describe, expect, expectTypeOf, it } from 'vitest';

import { systemClock } from '../clock.ts';
import type { JobStore } from '../store/job-store.ts';
import { memoryJobStore } from '../store/memory-job-store.ts';
import { type HttpStandIn, httpStandIn, type ReceivedRequest } from '../testing/http-stand-in.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import {
  checkReceiverUrl,
  createWebhookSender,
  jobMessage,
  RETRY_SCHEDULE_MS,
  type SendOutcome,
  type WebhookOutbox,
  type WebhookSender,
  type WebhookSenderOptions,
} from './outgoing.ts';
import { createWebhookSecret, verifyWebhook } from './standard-webhooks.ts';

const SECRET = createWebhookSecret();
const OWN = { allowPrivateNetworks: true, allowHttp: true };

const open: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]();
});

async function receiver(
  answer: (request: ReceivedRequest, response: ServerResponse) => unknown,
): Promise<HttpStandIn> {
  const standIn = await httpStandIn(answer);
  open.push(standIn);
  return standIn;
}

/** A store with one message in its outbox, and a sender. Time is the store's; sockets are real. */
async function sending(
  url: string,
  changes: Partial<WebhookSenderOptions> = {},
): Promise<{
  readonly clock: ManualClock;
  readonly store: JobStore;
  readonly sender: WebhookSender;
  readonly outcomes: SendOutcome[];
  readonly jobId: string;
}> {
  const clock = new ManualClock();
  const store = memoryJobStore({ clock });
  const jobId = randomUUID();
  const { job } = await store.create({ id: jobId, endpoint: null, backend: 'b', payloadHash: 'h' });
  const message = jobMessage(jobId, 'job.canceled', clock.now(), url);
  await store.update(jobId, job.version, { status: 'canceled' }, [message]);
  const outcomes: SendOutcome[] = [];
  const sender = createWebhookSender({
    outbox: store,
    owner: 'me',
    secrets: () => [SECRET],
    clock,
    onAttempt: (_delivery, outcome) => outcomes.push(outcome),
    ...OWN,
    ...changes,
  });
  open.push(sender);
  return { clock, store, sender, outcomes, jobId };
}

describe('a message to the application', () => {
  it('is signed, sent once, and thin', async () => {
    const app = await receiver((_request, response) => response.writeHead(204).end());
    const young = createWebhookSecret();
    const { sender, store, jobId, clock } = await sending(`${app.url}/hook?a=1`, {
      secrets: () => [young, SECRET],
    });
    expect(await sender.deliverDue()).toBe(1);
    expect(await sender.deliverDue()).toBe(0);
    const [request] = app.received;
    expect(request?.path).toBe('/hook?a=1');
    expect(JSON.parse(String(request?.body))).toEqual({
      type: 'job.canceled',
      timestamp: '2026-01-01T00:00:00.000Z',
      data: { jobId },
    });
    const headers = new Headers(Object.entries(request?.headers ?? {}).map(([k, v]) => [k, String(v)]));
    for (const secret of [young, SECRET])
      expect(
        verifyWebhook({ headers, body: request?.body ?? Buffer.of() }, [secret], clock.now()),
      ).toMatchObject({
        ok: true,
        id: `msg_${jobId}_job_canceled`,
      });
    expect(await store.deliveries(jobId)).toMatchObject([{ state: 'delivered', attempts: 1 }]);
  });

  it('is tried for a day by the schedule, under one id and a new time, and then given up', async () => {
    const app = await receiver((_request, response) =>
      response.writeHead(500).end('secret of the application'),
    );
    const { sender, store, jobId, clock } = await sending(app.url);
    const waits: number[] = [];
    for (let attempt = 1; attempt <= RETRY_SCHEDULE_MS.length; attempt += 1) {
      expect(await sender.deliverDue()).toBe(1);
      const [delivery] = await store.deliveries(jobId);
      expect(delivery).toMatchObject({ state: 'pending', attempts: attempt, lastError: 'status 500' });
      const wait = (delivery?.nextAttemptAt ?? 0) - clock.now();
      waits.push(wait);
      clock.advance(wait - 1);
      expect(await sender.deliverDue()).toBe(0);
      clock.advance(1);
    }
    expect(await sender.deliverDue()).toBe(1);
    expect(await store.deliveries(jobId)).toMatchObject([
      { state: 'dead', lastError: 'status 500; given up after 8 attempts' },
    ]);
    for (const [index, wait] of waits.entries())
      expect(wait / (RETRY_SCHEDULE_MS[index] ?? 0)).toSatisfy((part: number) => part >= 1 && part <= 1.1);
    const whole = RETRY_SCHEDULE_MS.reduce((sum, wait) => sum + wait);
    expect(whole).toBeGreaterThan(20 * 3_600_000);
    expect(whole * 1.1).toBeLessThan(24 * 3_600_000);
    const sent = (name: string): Set<unknown> => new Set(app.received.map(({ headers }) => headers[name]));
    expect(sent('webhook-id').size).toBe(1);
    expect(sent('webhook-timestamp').size).toBe(8);
  });

  it.each([
    [410, {}, 'dead', 0],
    [301, { location: 'http://169.254.169.254/' }, 'pending', 5_000],
    [429, { 'retry-after': '120' }, 'pending', 120_000],
    [503, { 'retry-after': '999999' }, 'pending', 3_600_000],
    [404, {}, 'pending', 5_000],
  ] as const)('that is answered with %i', async (status, headers, state, wait) => {
    const app = await receiver((_request, response) => response.writeHead(status, headers).end());
    const { sender, outcomes, clock } = await sending(app.url);
    await sender.deliverDue();
    const [outcome] = outcomes;
    expect(outcome?.state).toBe(state);
    if (outcome?.state === 'pending')
      expect((outcome.nextAttemptAt - clock.now()) / wait).toSatisfy(
        (part: number) => part >= 1 && part <= 1.1,
      );
    expect(app.received).toHaveLength(1);
  });

  it('does not wait for a receiver that says nothing, and reads little of one that says much', async () => {
    const silent = await receiver(() => undefined);
    const quiet = await sending(silent.url);
    const running = quiet.sender.deliverDue();
    while (silent.received.length === 0) await systemClock.sleep(5, new AbortController().signal);
    quiet.clock.advance(20_000);
    await running;
    expect(quiet.outcomes).toMatchObject([{ state: 'pending', error: 'no answer within 20 s' }]);
    let written = 0;
    const endless = await receiver((_request, response) => {
      response.writeHead(200);
      const more = (): void => {
        written += 1 << 16;
        if (response.writable && written < 1 << 28)
          response.write('x'.repeat(1 << 16), () => setImmediate(more));
      };
      more();
    });
    const talkative = await sending(endless.url);
    await talkative.sender.deliverDue();
    expect(talkative.outcomes).toEqual([{ state: 'delivered' }]);
    expect(written).toBeLessThan(1 << 26);
  });

  it('goes out when it is put into the outbox, and again after a failure, while a slow one is under way', async () => {
    const arrived = Promise.withResolvers<undefined>();
    let held: ServerResponse | undefined;
    const app = await receiver((request, response) => {
      if (request.path === '/slow') held = response;
      else response.writeHead(204).end(() => arrived.resolve(undefined));
    });
    const { sender, store, clock, outcomes } = await sending(`${app.url}/slow`, { concurrency: 2 });
    sender.start();
    while (held === undefined) await systemClock.sleep(5, new AbortController().signal);
    const jobId = randomUUID();
    const { job } = await store.create({ id: jobId, endpoint: null, backend: 'b', payloadHash: 'h' });
    const message = jobMessage(jobId, 'job.canceled', clock.now(), `${app.url}/fast`);
    await store.update(jobId, job.version, { status: 'canceled' }, [message]);
    sender.wake();
    await arrived.promise;
    held.writeHead(204).end();
    while (outcomes.length < 2) await systemClock.sleep(5, new AbortController().signal);
    expect(outcomes).toEqual([{ state: 'delivered' }, { state: 'delivered' }]);
  });

  it('survives an outbox that fails for a while, and is not settled when the sender is closed', async () => {
    const app = await receiver(() => undefined);
    const problems: unknown[] = [];
    const broken: WebhookOutbox = {
      claimDeliveries: () => Promise.reject(new Error('disk full')),
      settleDelivery: () => Promise.resolve(true),
    };
    const { sender, clock } = await sending(app.url, {
      outbox: broken,
      onProblem: (error) => problems.push(error),
    });
    sender.start();
    await clock.pass(11_000);
    expect(problems.length).toBe(3);
    const other = await sending(app.url);
    const running = other.sender.deliverDue();
    while (app.received.length === 0) await systemClock.sleep(5, new AbortController().signal);
    await other.sender.close();
    await running;
    expect(other.outcomes).toEqual([]);
    expect(await other.store.deliveries(other.jobId)).toMatchObject([{ state: 'pending', attempts: 1 }]);
  });

  it('can be taken from any job store', () => {
    expectTypeOf<JobStore>().toExtend<WebhookOutbox>();
  });
});

describe('receivers', () => {
  it.each([
    'http://example.com/hook',
    'https://user:pass@example.com/',
    'https://127.0.0.1/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://10.1.2.3/',
    'https://169.254.169.254/latest/meta-data/',
    'https://[::1]/',
    'https://[::ffff:10.0.0.1]/',
    'https://[fd00:ec2::254]/',
    'https://[64:ff9b::a9fe:a9fe]/',
    'file:///etc/passwd',
    'no address',
  ])('%s is refused and never tried again', async (url) => {
    expect(() => checkReceiverUrl(url)).toThrow(expect.objectContaining({ code: 'untrusted_url' }));
    const { sender, outcomes } = await sending(url, { allowPrivateNetworks: false, allowHttp: false });
    await sender.deliverDue();
    expect(outcomes).toMatchObject([{ state: 'dead' }]);
  });

  it('whose name leads into the own network are not connected to', async () => {
    const app = await receiver((_request, response) => response.writeHead(204).end());
    const port = new URL(app.url).port;
    // RFC 6761: a name, and not an address, that leads to this machine.
    const { sender, outcomes } = await sending(`http://innocent.localhost:${port}/`, {
      allowPrivateNetworks: false,
    });
    await sender.deliverDue();
    expect(outcomes).toMatchObject([
      { state: 'pending', error: expect.stringContaining('not a public') as string },
    ]);
    expect(app.received).toEqual([]);
  });

  it('of one’s own are sent to when that is allowed, and public ones always', () => {
    expect(checkReceiverUrl('http://127.0.0.1:8080/', OWN).port).toBe('8080');
    expect(checkReceiverUrl('https://example.com/').hostname).toBe('example.com');
  });
});
