/** What an apply does when RunPod fails it: the others are done, nothing is done twice, and the next run completes it. */
import { describe, expect, it } from 'vitest';

import { applyRunpod } from './apply.ts';
import { useDeployments } from './deployment.fixture.ts';
import { desire } from './desired-endpoint.fixture.ts';
import { readRunpodEndpoints } from './live-state.ts';
import { hasChanges } from './plan.ts';

const on = useDeployments();

describe('an error in the middle', () => {
  const three = ['one', 'two', 'three'].map((name) => desire(name));

  it('leaves the others done; the same plan again completes it', async () => {
    await on.deployed(desire('two', { fingerprint: 'old' }));
    const first = await on.plan(three);
    await on.cloud.fault('http-error=updateEndpoint/500:1');
    const outcomes: string[] = [];
    const report = await applyRunpod(first, on.client, {
      onEntry: ({ endpoint, outcome }) => outcomes.push(`${endpoint} ${outcome}`),
    });
    expect(outcomes).toEqual(['one created', 'two failed', 'three created']);
    expect(report).toMatchObject({ ok: false });
    expect(report.entries[1]!.error).toMatchObject({
      code: 'server_error',
      accepted: 'unknown',
      status: 500,
    });
    await on.cloud.forgetRequests();

    expect((await applyRunpod(first, on.client)).entries.map(({ outcome }) => outcome)).toEqual([
      'unchanged',
      'updated',
      'unchanged',
    ]);
    expect(await on.cloud.writes()).toMatchObject([{ operation: 'updateEndpoint', status: 200 }]);
    expect(hasChanges(await on.plan(three))).toBe(false);
  });

  it('is completed by a new plan too', async () => {
    await on.cloud.fault('http-error=createEndpoint/503:1');
    expect((await on.deploy(...three)).entries.map(({ outcome }) => outcome)).toEqual([
      'failed',
      'created',
      'created',
    ]);
    await on.cloud.forgetRequests();
    expect((await on.deploy(...three)).entries.map(({ outcome }) => outcome)).toEqual([
      'created',
      'unchanged',
      'unchanged',
    ]);
    expect(await on.cloud.writes()).toHaveLength(1);
  });

  it.each(['drop-after-accept', 'error-after-accept', 'truncated-json', 'malformed-json'])(
    'after which the endpoint is there (%s) makes no second one',
    async (fault) => {
      await on.cloud.fault(`${fault}=createEndpoint/:1`);
      expect(await on.deploy(desire())).toMatchObject({ ok: true, entries: [{ outcome: 'created' }] });
      expect(await on.cloud.writes()).toHaveLength(1);
      expect(await readRunpodEndpoints(on.client)).toHaveLength(1);
    },
  );

  it('before which nothing was done is said, and nothing is sent a second time', async () => {
    await on.cloud.fault('drop-before-accept=createEndpoint/:1');
    const report = await on.deploy(desire());
    expect(report).toMatchObject({ entries: [{ outcome: 'failed', error: { code: 'unreachable' } }] });
    expect(await on.cloud.writes()).toHaveLength(1);
    expect(await on.deploy(desire())).toMatchObject({ ok: true, entries: [{ outcome: 'created' }] });
  });

  it('that concerns every request stops the rest', async () => {
    const next = await on.plan(three);
    await on.cloud.fault('http-error=createEndpoint/403');
    const report = await applyRunpod(next, on.client);
    expect(report.entries.map(({ outcome }) => outcome)).toEqual(['failed', 'skipped', 'skipped']);
    expect(await on.cloud.writes()).toHaveLength(1);
  });

  it('of values that RunPod took and did not keep is an error', async () => {
    await on.deployed(desire());
    await on.cloud.fault('answer-field=updateEndpoint/workers={"min":0,"max":3}');
    const report = await on.deploy(desire('photo-finish', { config: { scaling: { maxContainers: 50 } } }));
    expect(report.entries[0]!.error).toMatchObject({ code: 'not_applied' });
    expect(report.entries[0]!.error!.message).toContain('workers.max is 3, not 50');
  });

  it('of values that a new endpoint did not get is one too, and it is not made again', async () => {
    await on.cloud.fault('answer-field=createEndpoint/timeout=5000:1');
    const report = await on.deploy(desire());
    expect(report.entries[0]!.error).toMatchObject({ code: 'not_applied' });
    expect(report.entries[0]!.error!.message).toContain('timeout is 5000 ms, not 120000 ms');
    expect(await on.deploy(desire())).toMatchObject({ ok: true, entries: [{ outcome: 'unchanged' }] });
  });

  it('is the reason of an aborted signal, and what was done stays done', async () => {
    const next = await on.plan(three);
    const controller = new AbortController();
    const applying = applyRunpod(next, on.client, {
      signal: controller.signal,
      onEntry: () => controller.abort(new Error('Ctrl-C')),
    });
    await expect(applying).rejects.toThrow('Ctrl-C');
    expect(await on.cloud.writes()).toHaveLength(1);
    expect((await on.deploy(...three)).entries.map(({ outcome }) => outcome)).toEqual([
      'unchanged',
      'created',
      'created',
    ]);
  });
});
