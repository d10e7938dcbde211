/** The client against the local RunPod with its faults, and against servers that answer as no RunPod should. */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { createRunPodManagement, LONGEST_RETRY_AFTER_MS, type RunPodManagement } from './client.ts';
import { image } from './desired-endpoint.fixture.ts';
import { type LocalRunPod, startLocalRunPod } from './local-runpod.fixture.ts';
import { waitForRollout } from './rollout.ts';
import { RUNPOD_ERROR_CODES, RunPodManagementError } from './runpod-error.ts';
import type { EndpointCreation } from './schemas.ts';
import { VOLUME_PRICES, volumeUsdPerMonth } from './volume-prices.ts';

let cloud: LocalRunPod;

beforeAll(async () => {
  cloud = await startLocalRunPod();
}, 60_000);
afterAll(() => cloud[Symbol.asyncDispose]());
beforeEach(() => cloud.reset());

const endpoint: EndpointCreation = {
  name: 'ryla-test',
  type: 'QUEUE',
  image: image(),
  gpu: { pools: ['ADA_24'], count: 1 },
  scaling: { type: 'QUEUE_DELAY', queueDelay: 4 },
  env: { HF_TOKEN: '{{ RUNPOD_SECRET_hf }}' },
};

/** What the call rejects with. */
async function failure(call: Promise<unknown>): Promise<RunPodManagementError> {
  const error: unknown = await call.then(
    () => expect.fail('it did not fail'),
    (cause: unknown) => cause,
  );
  if (!RunPodManagementError.isInstance(error)) throw error;
  return error;
}

describe('reads', () => {
  it('give endpoints, templates, volumes and cards', async () => {
    await using client = cloud.client();
    const made = await client.createEndpoint(endpoint);
    const template = await cloud.send('POST', 'templates', { name: 't', image: 'x', serverless: true });
    const volume = await cloud.send('POST', 'network-volumes', {
      name: 'm',
      size: 50,
      dataCenter: 'EU-RO-1',
    });
    expect((await client.getEndpoint(made.id)).env?.get('HF_TOKEN')).toBe('{{ RUNPOD_SECRET_hf }}');
    expect(await client.listTemplates()).toMatchObject([{ id: template['id'], serverless: true }]);
    expect(await client.getTemplate(String(template['id']))).toMatchObject({ name: 't' });
    expect(await client.listNetworkVolumes()).toMatchObject([{ name: 'm', size: 50, dataCenter: 'EU-RO-1' }]);
    expect(await client.getNetworkVolume(String(volume['id']))).toMatchObject({ name: 'm' });
    const cards = await client.listGpuTypes();
    expect(cards.find(({ id }) => id === 'NVIDIA L40S')).toMatchObject({
      pool: 'ADA_48_PRO',
      memory: 48,
      price: { serverless: 1.908 },
    });
    expect(cards[0]).not.toHaveProperty('availability');
    await cloud.fault('availability=LOW');
    expect((await client.listGpuTypes({ availability: true }))[0]).toMatchObject({ availability: 'LOW' });
  });

  it('give pods with what they need, and the price of a volume', async () => {
    await using client = cloud.client();
    const mounts = { network: [{ volumeId: 'vol1', path: '/workspace' }] };
    await cloud.control('PUT', 'pods', [
      { id: 'pod1', name: 'train', template: 'tpl1', mounts, cluster: {} },
    ]);
    expect(await client.listPods()).toEqual([
      { id: 'pod1', name: 'train', template: 'tpl1', mounts: { network: [{ volumeId: 'vol1' }] } },
    ]);
    expect(volumeUsdPerMonth({ size: 200, type: 'STANDARD' })).toBeCloseTo(14);
    expect(volumeUsdPerMonth({ size: 2_000, type: 'STANDARD' })).toBeCloseTo(120);
    expect(volumeUsdPerMonth({ size: 200, type: 'HIGH_PERFORMANCE' })).toBeUndefined();
    expect(Date.parse(VOLUME_PRICES.date)).toBeGreaterThan(0);
  });

  it('give what it cost', async () => {
    await using client = cloud.client();
    const day = (number: number): string => `2026-11-0${number}T00:00:00Z`;
    const rest = { cpuAmount: 0, diskAmount: 0, feeAmount: 0 };
    const serverless = [1, 2, 3].map((number) => ({
      ...{ startTime: day(number), endTime: day(number + 1), serverlessId: number === 3 ? 'b' : 'a' },
      ...{ totalAmount: number, gpuAmount: number, ...rest },
    }));
    await cloud.control('PUT', 'billing', { serverless });
    const window = { startTime: new Date(day(1)), endTime: new Date(day(5)), bucketSize: 'day' } as const;
    expect(await client.serverlessBilling(window)).toMatchObject({
      metadata: { totals: { totalAmount: 6 } },
    });
    const one = await client.serverlessBilling({ ...window, endpointId: 'a' });
    expect(one.records.map(({ totalAmount }) => totalAmount)).toEqual([1, 2]);
    expect(await client.networkVolumeBilling({ lastN: 3 })).toMatchObject({ records: [] });
    expect((await failure(client.serverlessBilling({ ...window, lastN: 3 }))).code).toBe('invalid_request');
  });

  it.each([
    ['http-error=listEndpoints/500:2', 3],
    ['html-502=listEndpoints/:1', 2],
    ['drop-before-accept=listEndpoints/:1', 2],
    ['drop-after-accept=listEndpoints/:1', 2],
    ['truncated-json=listEndpoints/:1', 2],
    ['malformed-json=listEndpoints/:1', 2],
    ['rate-limit=listEndpoints/12:1', 2],
  ])('are repeated after %s', async (fault, requests) => {
    const waits: number[] = [];
    await using client = cloud.client({
      sleep: (milliseconds) => {
        waits.push(milliseconds);
        return Promise.resolve();
      },
      random: () => 1,
    });
    await cloud.fault(fault);
    expect(await client.listEndpoints()).toEqual([]);
    expect(await cloud.received()).toHaveLength(requests);
    expect(waits[0]).toBe(fault.startsWith('rate-limit') ? 12_000 : 500);
  });

  it('end after some attempts, and at once when the wait would be long', async () => {
    await using client = cloud.client();
    await cloud.fault('html-502=listEndpoints/');
    const error = await failure(client.listEndpoints());
    expect(error).toMatchObject({ code: 'server_error', status: 502, retryable: true, accepted: undefined });
    expect(error.message).toContain('502 Bad Gateway');
    expect(await cloud.received()).toHaveLength(4);
    await cloud.reset();
    await cloud.fault(`rate-limit=listEndpoints/${LONGEST_RETRY_AFTER_MS / 1000 + 1}`);
    expect(await failure(client.listEndpoints())).toMatchObject({
      code: 'rate_limited',
      retryAfterMs: 66_000,
    });
    expect(await cloud.received()).toHaveLength(1);
  });
});

describe('writes', () => {
  it.each(['http-error', 'drop-before-accept', 'drop-after-accept', 'error-after-accept', 'html-502'])(
    'whose fate is not known (%s) are sent once',
    async (fault) => {
      await using client = cloud.client();
      await cloud.fault(`${fault}=createEndpoint/`);
      expect(await failure(client.createEndpoint(endpoint))).toMatchObject({
        accepted: 'unknown',
        operation: 'createEndpoint',
      });
      expect(await cloud.received()).toHaveLength(1);
    },
  );

  it('that were certainly not done are repeated', async () => {
    await using client = cloud.client();
    await cloud.fault('rate-limit=createEndpoint/1:2');
    expect(await client.createEndpoint(endpoint)).toMatchObject({ name: 'ryla-test' });
    expect(await cloud.received()).toHaveLength(3);
    await using nobody = cloud.client({ baseUrl: 'http://127.0.0.1:9/v2', attempts: 2 });
    const error = await failure(nobody.createEndpoint(endpoint));
    expect(error).toMatchObject({ code: 'unreachable', accepted: 'no' });
    expect(error.message).toContain('ECONNREFUSED');
  });

  it('that RunPod refuses say which field, with the id of the request', async () => {
    await using client = cloud.client();
    const wrong = { ...endpoint, workers: { min: 0, max: -1 } };
    const error = await failure(client.createEndpoint(wrong));
    expect(error).toMatchObject({ code: 'invalid_request', status: 422, accepted: 'no', retryable: false });
    expect(error.message).toContain('$.workers.max: -1 is less than the minimum of 0');
    expect(error.requestId).toBe((await cloud.received())[0]!.requestId);
    expect((await failure(client.getEndpoint('nosuchone'))).code).toBe('not_found');
    expect((await failure(client.updateEndpoint('nosuchone', {}))).code).toBe('not_found');
  });

  it('never go to another path than the one of an id', async () => {
    await using client = cloud.client();
    for (const id of ['', '..', 'a/b', 'a?x=1', '../templates'])
      expect((await failure(client.deleteEndpoint(id))).code).toBe('invalid_settings');
    expect(await cloud.received()).toEqual([]);
  });
});

describe('odd answers', () => {
  it.each([
    ['workers', 'endpoints.0.workers'],
    ['id', 'endpoints.0.id'],
    ['scaling={"type":"QUEUE_DELAY"}', 'endpoints.0.scaling'],
    ['env={"A":1}', 'endpoints.0.env.A'],
    ['timeout="long"', 'endpoints.0.timeout'],
  ])('without or with another %s are refused by their place', async (change, place) => {
    await using client = cloud.client();
    await client.createEndpoint(endpoint);
    await cloud.fault(`answer-field=listEndpoints/${change}`);
    const error = await failure(client.listEndpoints());
    expect(error.code).toBe('invalid_response');
    expect(error.message).toContain(place);
  });

  it('with values that the document does not name yet are let through', async () => {
    await using client = cloud.client();
    await client.createEndpoint(endpoint);
    await cloud.fault('answer-field=listEndpoints/flashboot="TURBO"');
    expect(await client.listEndpoints()).toMatchObject([{ flashboot: 'TURBO' }]);
    await cloud.fault('answer-field=listEndpoints/scaling={"type":"MAGIC","spell":1}');
    expect(await client.listEndpoints()).toMatchObject([{ scaling: { type: 'MAGIC' } }]);
  });

  const answers: Record<string, RequestListener> = {
    'a page of a list': (_, response) => response.end('{"endpoints":[],"nextCursor":"abc"}'),
    'a page by header': (_, response) =>
      response.setHeader('link', '</v2/serverless?page=2>; rel="next"').end('{"endpoints":[]}'),
    'a redirect': (_, response) =>
      response.writeHead(302, { location: 'http://127.0.0.1:9/elsewhere' }).end(),
    nothing: (_, response) => response.end(),
    'an array': (_, response) => response.end('[]'),
    null: (_, response) => response.end('null'),
  };
  it.each(Object.keys(answers))('that are %s are refused', async (name) => {
    await using server = await serve(answers[name]!);
    const error = await failure(server.client.listEndpoints());
    expect(error.code).toBe('invalid_response');
  });

  it('that are endless are cut off', async () => {
    await using server = await serve((_, response) => {
      const chunk = Buffer.alloc(1 << 20, 32);
      const more = (): void => {
        while (!response.destroyed && response.write(chunk));
      };
      response.on('drain', more);
      more();
    });
    expect((await failure(server.client.listEndpoints())).message).toContain('larger than');
  });
});

describe('the API key', () => {
  const key = 'rpa_THIS_IS_A_SECRET_KEY';

  it('is refused when no header can hold it, without showing it', () => {
    for (const apiKey of ['', `${key}\n`, `"${key}" `])
      try {
        createRunPodManagement({ apiKey });
        expect.fail('taken');
      } catch (error) {
        expect(error).toMatchObject({ code: 'invalid_settings' });
        expect(inspect(error)).not.toContain(key);
      }
  });

  it.each(['http://api.runpod.io/v2', 'https://user:pass@api.runpod.io', 'ftp://x', 'nonsense'])(
    'does not go to %s',
    (baseUrl) => {
      expect(() => createRunPodManagement({ apiKey: key, baseUrl })).toThrow(/https/);
    },
  );

  it('is in no error, also when the server repeats it and the variables', async () => {
    await using server = await serve((request, response) => {
      response.statusCode = 400;
      response.end(`${String(request.headers.authorization)} and the variable hunter2-hunter2 are wrong`);
    }, key);
    const body = { env: { PASSWORD: 'hunter2-hunter2' } };
    const error = await failure(server.client.updateEndpoint('ep', body));
    expect(error.message).toContain('Bearer (hidden) and the variable (hidden) are wrong');
    await using cut = await serve((request) => request.socket.destroy(), key);
    for (const one of [error, await failure(cut.client.listEndpoints())])
      expect(inspect(one, { depth: 20, showHidden: true }) + JSON.stringify(one)).not.toMatch(
        /rpa_THIS|hunter2/,
      );
  });

  it('that is wrong is said once, with what to do', async () => {
    await using client = cloud.client({ apiKey: 'rpa_wrong' });
    const error = await failure(client.listEndpoints());
    expect(error).toMatchObject({ code: 'unauthorized', status: 401 });
    expect(error.message).toContain('Check RUNPOD_API_KEY');
    expect(await cloud.received()).toHaveLength(1);
  });
});

describe('waiting', () => {
  it('ends with the timeout of a request', async () => {
    await using server = await serve(() => undefined, 'rk', { timeoutMs: 20, attempts: 2 });
    expect(await failure(server.client.listEndpoints())).toMatchObject({
      code: 'timed_out',
      retryable: true,
    });
    expect(await failure(server.client.createEndpoint(endpoint))).toMatchObject({ accepted: 'unknown' });
    expect(server.requests()).toBe(3);
  });

  it('ends with the reason of the signal, in a request and between two', async () => {
    const reason = new Error('Ctrl-C');
    const controller = new AbortController();
    await using server = await serve(() => controller.abort(reason));
    await expect(server.client.listEndpoints({ signal: controller.signal })).rejects.toBe(reason);
    await expect(server.client.listEndpoints({ signal: controller.signal })).rejects.toBe(reason);
    const writing = new AbortController();
    await using silent = await serve(() => writing.abort(reason));
    await expect(silent.client.createEndpoint(endpoint, { signal: writing.signal })).rejects.toBe(reason);
    const between = new AbortController();
    await using failing = await serve((_, response) => {
      response.statusCode = 500;
      response.end(() => setImmediate(() => between.abort(reason)));
    });
    await expect(failing.client.listEndpoints({ signal: between.signal })).rejects.toBe(reason);
  });

  it('for a rollout looks until no worker is of an older release', async () => {
    const answers = [1, 2, 3].map((workersOnLatest) => ({
      rollout: { inProgress: workersOnLatest < 3, workersOnLatest, workersTotal: 3, percentOnLatest: 0 },
      releases: [],
    }));
    await using server = await serve((_, response) => response.end(JSON.stringify(answers.shift())));
    const seen: number[] = [];
    const rollout = await waitForRollout(server.client, 'ep', {
      pollMs: 1,
      onProgress: ({ workersOnLatest }) => seen.push(workersOnLatest),
    });
    expect(rollout.workersOnLatest).toBe(3);
    expect(seen).toEqual([1, 2, 3]);
  });

  it('for a rollout ends at its timeout', async () => {
    const rollout = { inProgress: true, workersOnLatest: 1, workersTotal: 2, percentOnLatest: 50 };
    await using server = await serve((_, response) =>
      response.end(JSON.stringify({ rollout, releases: [] })),
    );
    const error = await failure(waitForRollout(server.client, 'ep', { pollMs: 5, timeoutMs: 8 }));
    expect(error.message).toContain('1 of 2 workers');
  });
});

describe('errors', () => {
  it('have distinct codes in order', () => {
    expect([...RUNPOD_ERROR_CODES].sort()).toEqual([...RUNPOD_ERROR_CODES]);
  });
});

interface OddServer extends AsyncDisposable {
  readonly client: RunPodManagement;
  requests(): number;
}

/** A server of our own, for what the stand-in would never answer. */
async function serve(
  listener: RequestListener,
  apiKey = 'rk',
  options: { readonly timeoutMs?: number; readonly attempts?: number } = {},
): Promise<OddServer> {
  let requests = 0;
  const server = createServer((request, response) => {
    requests += 1;
    listener(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const client = createRunPodManagement({
    apiKey,
    baseUrl: `http://127.0.0.1:${port}/v2`,
    random: () => 0,
    ...options,
  });
  return {
    client,
    requests: () => requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await client.close();
    },
  };
}
