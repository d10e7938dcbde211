/** What every job store must do, wherever it keeps its jobs: one suite, run by any test runner. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import { changeJob, spentSince } from '../store/change-job.ts';
import type { JobCost, JobIntent, JobPatch, JobRecord } from '../store/job-record.ts';
import type { JobStore } from '../store/job-store.ts';
import { JobStoreError, type JobStoreErrorCode } from '../store/store-error.ts';

/** An empty store that the suite may fill. */
export interface JobStoreTarget {
  readonly store: JobStore;
  /** The store as another service sees it; the same object where there can be only one. */
  readonly other: JobStore;
  /** The clock that both go by, and that the suite moves on; milliseconds since 1970. */
  readonly clock: { now(): number; advance(milliseconds: number): void };
}

/** One behaviour of the suite; each needs a target of its own. */
export interface JobStoreCase {
  readonly name: string;
  /** Rejects with an assertion when the store behaves otherwise. */
  readonly run: (target: JobStoreTarget) => Promise<void>;
}

const LEASE_MS = 30_000;
const HOUR = 3_600_000;

function intent(changes: Partial<JobIntent> = {}): JobIntent {
  return { id: randomUUID(), endpoint: 'flux', backend: 'modal', payloadHash: 'a'.repeat(64), ...changes };
}

function usd(amount: number, estimated = false): JobCost {
  return { usd: amount, estimated, gpu: 'L40S', pricesOf: '2026-11-24' };
}

async function create(store: JobStore, changes: Partial<JobIntent> = {}): Promise<JobRecord> {
  return (await store.create(intent(changes))).job;
}

async function applied(store: JobStore, job: JobRecord, patch: JobPatch): Promise<JobRecord> {
  const result = await store.update(job.id, job.version, patch);
  assert.ok(result.applied, `not applied: ${result.applied ? '' : result.reason}`);
  return result.job;
}

async function refused(work: Promise<unknown>, code: JobStoreErrorCode): Promise<JobStoreError> {
  const error: unknown = await work.then(
    () => assert.fail(`it was taken; ${code} was expected`),
    (reason: unknown) => reason,
  );
  assert.ok(JobStoreError.isInstance(error), `not a JobStoreError: ${String(error)}`);
  assert.equal(error.code, code, error.message);
  return error;
}

function ids(jobs: readonly { readonly id: string }[]): string[] {
  return jobs.map(({ id }) => id);
}

const creation: readonly JobStoreCase[] = [
  {
    name: 'keeps an intent, and gives it back as it was given',
    async run({ store, other, clock }) {
      const given = intent({
        routeKey: 'customer-7',
        gpu: 'L40S:2',
        cost: usd(0.02, true),
        webhookSecretHash: 'c0ffee',
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        tags: ['nightly', 'größe'],
        payload: '{"workflow":{}}',
      });
      const { job, created } = await store.create(given);
      assert.equal(created, true);
      const { payload, ...rest } = given;
      assert.deepEqual(job, {
        ...rest,
        version: 1,
        attempt: 1,
        submission: 'intended',
        providerRef: null,
        status: 'queued',
        createdAt: clock.now(),
        submittedAt: null,
        startedAt: null,
        finishedAt: null,
        resultExpiresAt: null,
        timings: { queueMs: null, coldStartMs: null, executionMs: null, uploadMs: null, downloadMs: null },
        metrics: null,
        error: null,
        outputs: [],
        warnings: [],
      });
      assert.deepEqual(await other.get(job.id), job);
      assert.equal(await other.payload(job.id), payload);
      assert.equal(await store.get(randomUUID()), undefined);
      assert.equal(await store.payload(randomUUID()), undefined);
    },
  },
  {
    name: 'takes the same id with the same payload once, however many ask at once',
    async run({ store, other }) {
      const given = intent();
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? store : other).create(given)),
      );
      assert.equal(results.filter(({ created }) => created).length, 1);
      for (const { job } of results) assert.deepEqual(job, results[0]?.job);
      const running = await applied(store, await create(store), { status: 'running' });
      const again = await store.create(intent({ id: running.id }));
      assert.deepEqual(again, { job: running, created: false });
    },
  },
  {
    name: 'refuses the same id with another payload, alone among its neighbours',
    async run({ store }) {
      const { id } = await create(store);
      const [before, conflict, after] = await Promise.allSettled([
        store.create(intent()),
        store.create(intent({ id, payloadHash: 'b' })),
        store.create(intent()),
      ]);
      assert.equal(before.status, 'fulfilled');
      assert.equal(after.status, 'fulfilled');
      assert.equal(conflict.status, 'rejected');
      const error = await refused(store.create(intent({ id, payloadHash: 'b' })), 'idempotency_conflict');
      assert.equal(error.jobId, id);
      assert.equal(error.retryable, false);
      assert.equal((await store.list()).jobs.length, 3);
    },
  },
  {
    name: 'refuses arguments of a wrong form',
    async run({ store }) {
      await refused(store.create(intent({ id: 'job-1' })), 'invalid_argument');
      await refused(store.create(intent({ payloadHash: '' })), 'invalid_argument');
      await refused(store.create(intent(), { owner: '', ms: 1 }), 'invalid_argument');
      await refused(store.claim({ owner: 'a', ms: 0 }, 1), 'invalid_argument');
      await refused(store.claim({ owner: 'a', ms: 1 }, 0), 'invalid_argument');
      await refused(store.list({}, { cursor: 'nonsense' }), 'invalid_argument');
      await refused(store.list({}, { limit: -1 }), 'invalid_argument');
      await refused(store.durations({ endpoint: null, backend: 'x' }, [2]), 'invalid_argument');
      await refused(store.update(randomUUID(), 1, { status: 'running' }), 'unknown_job');
      assert.deepEqual((await store.list()).jobs, []);
    },
  },
  {
    name: 'keeps any text; what no database can hold becomes U+FFFD',
    async run({ store, other }) {
      const job = await create(store, { tags: ["it's; --", 'a\\u0000b', 'a\0b', 'a\ud800b', '絵'] });
      assert.deepEqual((await other.get(job.id))?.tags, ["it's; --", 'a\\u0000b', 'a�b', 'a�b', '絵']);
      assert.deepEqual(await other.get(job.id), job);
    },
  },
];

const changes: readonly JobStoreCase[] = [
  {
    name: 'follows a job from intent to its end, and drops what only an open job needs',
    async run({ store, other, clock }) {
      const { job } = await store.create(intent({ payload: 'p' }), { owner: 'a', ms: LEASE_MS });
      const sent = await applied(store, job, {
        submission: 'submitted',
        providerRef: { id: 'r-1' },
        submittedAt: clock.now(),
      });
      const running = await applied(store, sent, { status: 'running', startedAt: clock.now() + 5 });
      clock.advance(1_000);
      const patch: JobPatch = {
        status: 'succeeded',
        resultExpiresAt: clock.now() + HOUR,
        timings: { queueMs: 5, coldStartMs: 0, executionMs: 900.5, uploadMs: 10, downloadMs: null },
        metrics: {
          queueMs: 5,
          bootMs: 0,
          modelLoadMs: 300,
          samplingMs: 500.5,
          encodeMs: null,
          uploadMs: 10,
          gpu: 'NVIDIA L40S',
          peakMemoryBytes: 12_884_901_888,
        },
        cost: usd(0.000279),
        outputs: [
          {
            nodeId: '9',
            name: 'a.png',
            kind: 'image',
            contentType: 'image/png',
            size: 12,
            sha256: null,
            source: { url: 'https://x', parts: [1, null, true] },
          },
        ],
      };
      const done = await applied(store, running, patch);
      assert.deepEqual(done, { ...running, ...patch, version: 4, finishedAt: clock.now() });
      assert.deepEqual(await other.get(job.id), done);
      assert.equal(await other.payload(job.id), undefined);
      assert.deepEqual(await store.renew({ owner: 'a', ms: LEASE_MS }), []);
    },
  },
  {
    name: 'changes a job only where it still has the version that was read',
    async run({ store, other }) {
      const job = await create(store);
      const results = await Promise.all(
        ['x', 'y', 'z'].map((tag, index) => (index === 1 ? other : store).update(job.id, 1, { tags: [tag] })),
      );
      const winners = results.filter((result) => result.applied);
      assert.equal(winners.length, 1);
      const stored = await store.get(job.id);
      assert.deepEqual(stored, winners[0]?.job);
      for (const result of results)
        if (!result.applied)
          assert.deepEqual(result, { applied: false, reason: 'stale_version', job: stored });
    },
  },
  {
    name: 'lets nothing late or backward through, and tells what is stored',
    async run({ store }) {
      const queued = await create(store);
      const running = await applied(store, queued, { status: 'running', submission: 'submitted' });
      const canceling = await applied(store, running, { status: 'canceling' });
      const backward: readonly JobPatch[] = [
        { status: 'queued' },
        { status: 'running' },
        { submission: 'intended' },
        { submission: 'unknown' },
        { attempt: 0 },
        { attempt: 2, status: 'queued', submission: 'intended' },
        { backend: 'runpod' },
      ];
      for (const patch of backward)
        assert.deepEqual(
          await store.update(canceling.id, canceling.version, patch),
          { applied: false, reason: 'not_allowed', job: canceling },
          JSON.stringify(patch),
        );
      assert.deepEqual(await store.get(queued.id), canceling);
    },
  },
  {
    name: 'leaves a job that has ended as it ended, but for what is learnt later',
    async run({ store, clock }) {
      for (const status of ['succeeded', 'failed', 'canceled', 'expired', 'lost'] as const) {
        const done = await applied(store, await create(store), { status });
        clock.advance(1);
        const late: readonly JobPatch[] = [
          { status: 'running' },
          { status: 'succeeded' },
          { status: 'failed', cost: usd(9) },
          { attempt: 2, status: 'queued' },
          { submission: 'submitted' },
          { finishedAt: 1 },
          { error: null },
        ];
        for (const patch of late)
          assert.deepEqual(await store.update(done.id, done.version, patch), {
            applied: false,
            reason: 'ended',
            job: done,
          });
        const billed = await applied(store, done, { cost: usd(0.5), tags: ['billed'] });
        assert.deepEqual(billed, { ...done, cost: usd(0.5), tags: ['billed'], version: done.version + 1 });
      }
    },
  },
  {
    name: 'sends a refused job to another backend, a lost answer only after a look-up, and never a job that was taken',
    async run({ store }) {
      const job = await create(store);
      const early = await store.update(job.id, 1, { backend: 'runpod' });
      assert.equal(early.applied, false);
      const unknown = await applied(store, job, { submission: 'unknown' });
      const resent = await store.update(job.id, unknown.version, { submission: 'intended' });
      assert.equal(resent.applied, false);
      const not = await applied(store, unknown, { submission: 'refused' });
      const moved = await applied(store, not, { submission: 'intended', backend: 'runpod' });
      const taken = await applied(store, moved, { submission: 'submitted' });
      assert.equal(taken.backend, 'runpod');
      assert.equal((await store.update(job.id, taken.version, { backend: 'modal' })).applied, false);
    },
  },
  {
    name: 'begins again under a new attempt',
    async run({ store }) {
      const running = await applied(store, await create(store), {
        status: 'running',
        submission: 'submitted',
        providerRef: { id: 'first' },
        startedAt: 1,
      });
      const again = await applied(store, running, {
        attempt: 2,
        status: 'queued',
        submission: 'intended',
        providerRef: null,
        startedAt: null,
      });
      assert.equal(again.attempt, 2);
      assert.equal(again.status, 'queued');
      assert.equal((await store.update(again.id, again.version, { attempt: 1 })).applied, false);
    },
  },
  {
    name: 'changeJob repeats a change until it meets the newest version',
    async run({ store, other }) {
      const { id } = await create(store);
      const tags = Array.from({ length: 12 }, (_, index) => `tag-${index}`);
      await Promise.all(
        tags.map((tag, index) =>
          changeJob(index % 2 === 0 ? store : other, id, (job) => ({ patch: { tags: [...job.tags, tag] } })),
        ),
      );
      const job = await store.get(id);
      assert.deepEqual(job?.tags.toSorted(), tags.toSorted());
      assert.equal(job.version, 13);
      const none = await changeJob(store, id, () => undefined);
      assert.deepEqual(none, { applied: false, reason: 'nothing_to_do', job });
      await refused(
        changeJob(store, randomUUID(), () => undefined),
        'unknown_job',
      );
    },
  },
];

const leases: readonly JobStoreCase[] = [
  {
    name: 'hands every open job to one owner only, oldest first',
    async run({ store, other, clock }) {
      const made: JobRecord[] = [];
      for (let index = 0; index < 30; index += 1) {
        made.push(await create(store));
        clock.advance(1);
      }
      const ended = made.slice(0, 3);
      for (const job of ended) await applied(store, job, { status: 'failed' });
      const claims = await Promise.all(
        Array.from({ length: 12 }, (_, index) =>
          (index % 2 === 0 ? store : other).claim({ owner: `owner-${index}`, ms: LEASE_MS }, 4),
        ),
      );
      const rest: JobRecord[][] = [];
      for (;;) {
        const more = await store.claim({ owner: 'rest', ms: LEASE_MS }, 100);
        if (more.length === 0) break;
        rest.push([...more]);
      }
      const taken = [...claims, ...rest].flat();
      assert.deepEqual(ids(taken).sort(), ids(made.slice(3)).sort());
      for (const claim of claims) {
        const times = claim.map(({ createdAt }) => createdAt);
        assert.deepEqual(times, times.toSorted());
      }
    },
  },
  {
    name: 'does not hand out what its creator holds, until the lease runs out; a renewed lease does not',
    async run({ store, other, clock }) {
      const { job: first } = await store.create(intent(), { owner: 'a', ms: LEASE_MS });
      const { job: second } = await store.create(intent(), { owner: 'a', ms: LEASE_MS });
      const b = { owner: 'b', ms: LEASE_MS };
      assert.deepEqual(await other.claim(b, 10), []);
      clock.advance(LEASE_MS - 1);
      assert.deepEqual(await other.claim(b, 10), []);
      assert.deepEqual(await store.renew({ owner: 'a', ms: LEASE_MS }), [first.id, second.id].sort());
      clock.advance(LEASE_MS - 1);
      assert.deepEqual(await other.claim(b, 10), []);
      clock.advance(1);
      const [taken] = await other.claim(b, 1);
      assert.ok(taken);
      const left = taken.id === first.id ? second : first;
      // What ran out and nobody took is still the owner's.
      assert.deepEqual(await store.renew({ owner: 'a', ms: LEASE_MS }), [left.id]);
      assert.deepEqual(await other.renew(b), [taken.id]);
      assert.deepEqual(await other.claim(b, 10), []);
    },
  },
  {
    name: 'lets jobs go that their owner releases',
    async run({ store, other }) {
      const made = await Promise.all(
        [1, 2, 3].map(() => store.create(intent(), { owner: 'a', ms: LEASE_MS })),
      );
      const [one, two, three] = made.map(({ job }) => job.id);
      assert.ok(one !== undefined && two !== undefined && three !== undefined);
      await other.release('b');
      await other.release('b', [one]);
      assert.deepEqual(await other.claim({ owner: 'b', ms: LEASE_MS }, 10), []);
      await store.release('a', [one]);
      assert.deepEqual(ids(await other.claim({ owner: 'b', ms: LEASE_MS }, 10)), [one]);
      await store.release('a');
      assert.deepEqual(ids(await other.claim({ owner: 'b', ms: LEASE_MS }, 10)).sort(), [two, three].sort());
    },
  },
  {
    name: 'gives a name to one owner at a time',
    async run({ store, other, clock }) {
      const results = await Promise.all(
        Array.from({ length: 10 }, (_, index) =>
          (index % 2 === 0 ? store : other).acquireLease('sweep', { owner: `o-${index}`, ms: LEASE_MS }),
        ),
      );
      assert.equal(results.filter(Boolean).length, 1);
      const owner = `o-${results.indexOf(true)}`;
      clock.advance(LEASE_MS - 1);
      assert.equal(await store.acquireLease('sweep', { owner, ms: LEASE_MS }), true);
      clock.advance(LEASE_MS - 1);
      assert.equal(await other.acquireLease('sweep', { owner: 'next', ms: LEASE_MS }), false);
      assert.equal(await other.acquireLease('another', { owner: 'next', ms: LEASE_MS }), true);
      await other.releaseLease('sweep', 'next');
      assert.equal(await other.acquireLease('sweep', { owner: 'next', ms: LEASE_MS }), false);
      clock.advance(1);
      assert.equal(await other.acquireLease('sweep', { owner: 'next', ms: LEASE_MS }), true);
      await other.releaseLease('sweep', 'next');
      assert.equal(await store.acquireLease('sweep', { owner, ms: LEASE_MS }), true);
    },
  },
];

const queries: readonly JobStoreCase[] = [
  {
    name: 'lists newest first in pages that new jobs do not disturb',
    async run({ store, clock }) {
      const made: string[] = [];
      for (let index = 0; index < 25; index += 1) {
        made.push((await create(store)).id);
        if (index % 3 === 0) clock.advance(1);
      }
      const seen: JobRecord[] = [];
      let cursor: string | undefined;
      do {
        const page = await store.list({}, { cursor, limit: 7 });
        assert.ok(page.jobs.length <= 7);
        seen.push(...page.jobs);
        cursor = page.next;
        clock.advance(1);
        await create(store);
      } while (cursor !== undefined);
      assert.deepEqual(ids(seen).sort(), made.toSorted());
      const order = seen.map(({ createdAt, id }) => `${createdAt} ${id}`);
      assert.deepEqual(order, order.toSorted().reverse());
      assert.equal((await store.list({}, { limit: 29 })).next, undefined);
    },
  },
  {
    name: 'finds jobs by the tags that they have now',
    async run({ store, other }) {
      const kept = await create(store, { tags: ['a', 'b', 'a'] });
      const changed = await create(store, { tags: ['a'] });
      const tagged = async (tag: string): Promise<string[]> => ids((await other.list({ tag })).jobs).sort();
      assert.deepEqual(await tagged('a'), [kept.id, changed.id].sort());
      const renamed = await applied(store, changed, { tags: ['c', 'b'] });
      assert.deepEqual(await tagged('a'), [kept.id]);
      assert.deepEqual(await tagged('b'), [kept.id, changed.id].sort());
      assert.deepEqual(await tagged('c'), [changed.id]);
      const ended = await applied(store, renamed, { status: 'canceled', finishedAt: 1 });
      await applied(store, ended, { tags: [] });
      await store.prune(2);
      assert.deepEqual(await tagged('c'), []);
      assert.deepEqual(await tagged('b'), [kept.id]);
    },
  },
  {
    name: 'filters lists and counts by endpoint, backend, status, time and tag',
    async run({ store, clock }) {
      const since = clock.now();
      const flux = await create(store, { tags: ['a', 'b'] });
      clock.advance(10);
      const bare = await create(store, { endpoint: null, backend: 'runpod', tags: ['b'] });
      clock.advance(10);
      const wan = await create(store, { endpoint: 'wan', backend: 'runpod' });
      await applied(store, wan, { status: 'lost' });
      const listed = async (filter: Parameters<JobStore['list']>[0]): Promise<string[]> => {
        const page = await store.list(filter);
        const counts = Object.values(await store.count(filter));
        assert.equal(
          counts.reduce((sum, count) => sum + count, 0),
          page.jobs.length,
        );
        return ids(page.jobs);
      };
      assert.deepEqual(await listed({}), [wan.id, bare.id, flux.id]);
      assert.deepEqual(await listed({ endpoint: 'flux' }), [flux.id]);
      assert.deepEqual(await listed({ endpoint: null }), [bare.id]);
      assert.deepEqual(await listed({ backend: 'runpod' }), [wan.id, bare.id]);
      assert.deepEqual(await listed({ status: ['lost', 'failed'] }), [wan.id]);
      assert.deepEqual(await listed({ status: [] }), []);
      assert.deepEqual(await listed({ tag: 'b' }), [bare.id, flux.id]);
      assert.deepEqual(await listed({ tag: "'" }), []);
      assert.deepEqual(await listed({ since: since + 10 }), [wan.id, bare.id]);
      assert.deepEqual(await listed({ until: since + 10 }), [flux.id]);
      assert.deepEqual(await listed({ backend: 'runpod', tag: 'b', since, until: since + 11 }), [bare.id]);
      assert.deepEqual(await store.count(), {
        queued: 2,
        running: 0,
        canceling: 0,
        succeeded: 0,
        failed: 0,
        canceled: 0,
        expired: 0,
        lost: 1,
      });
    },
  },
  {
    name: 'sums costs to the billionth of a dollar, by endpoint, backend and UTC day',
    async run({ store, clock }) {
      await create(store);
      for (let index = 0; index < 10; index += 1) await create(store, { cost: usd(0.1, true) });
      await create(store, { endpoint: null, cost: usd(0.000000001) });
      const day = 24 * HOUR;
      clock.advance(day);
      const since = clock.now();
      const estimated = await create(store, { backend: 'runpod', cost: usd(7, true) });
      await applied(store, estimated, { status: 'succeeded', cost: usd(0.2) });
      assert.deepEqual(await store.costs('endpoint'), [
        { key: null, jobs: 1, usd: 0.000000001 },
        { key: 'flux', jobs: 11, usd: 1.2 },
      ]);
      assert.deepEqual(await store.costs('backend'), [
        { key: 'modal', jobs: 11, usd: 1.000000001 },
        { key: 'runpod', jobs: 1, usd: 0.2 },
      ]);
      const date = (moment: number): string => new Date(moment).toISOString().slice(0, 10);
      assert.deepEqual(await store.costs('day', { endpoint: 'flux' }), [
        { key: date(since - day), jobs: 10, usd: 1 },
        { key: date(since), jobs: 1, usd: 0.2 },
      ]);
      assert.equal(await spentSince(store, 'flux', since), 0.2);
      assert.equal(await spentSince(store, 'flux', 0), 1.2);
      assert.equal(await spentSince(store, null, since), 0);
    },
  },
  {
    name: 'knows how long the last jobs of an endpoint on a backend ran',
    async run({ store, clock }) {
      const finish = async (executionMs: number | null, given: Partial<JobIntent> = {}): Promise<void> => {
        clock.advance(1);
        await applied(store, await create(store, given), {
          status: 'succeeded',
          timings: { queueMs: 1, coldStartMs: null, executionMs, uploadMs: null, downloadMs: null },
        });
      };
      const of = { endpoint: 'flux', backend: 'modal' };
      assert.deepEqual(await store.durations(of, [0.5]), { count: 0, executionMs: [] });
      await finish(1_000_000);
      for (const time of [50, 10, 30.5, 20, 40]) await finish(time);
      await finish(null);
      await finish(1, { backend: 'runpod' });
      await finish(2, { endpoint: null });
      await applied(store, await create(store), {
        status: 'failed',
        timings: { queueMs: 1, coldStartMs: null, executionMs: 3, uploadMs: null, downloadMs: null },
      });
      assert.deepEqual(await store.durations({ ...of, last: 5 }, [0, 0.2, 0.5, 0.9, 1]), {
        count: 5,
        executionMs: [10, 10, 30.5, 50, 50],
      });
      assert.deepEqual((await store.durations(of, [1])).executionMs, [1_000_000]);
      assert.deepEqual(await store.durations({ endpoint: null, backend: 'modal' }, [0.5]), {
        count: 1,
        executionMs: [2],
      });
    },
  },
];

const state: readonly JobStoreCase[] = [
  {
    name: 'keeps values by key, changed by compare-and-set and seen by one counter',
    async run({ store, other }) {
      const before = await store.stateRevision();
      assert.equal(await store.getState('route/flux'), undefined);
      const value = { backends: [{ name: 'modal', weight: 1 }], note: null };
      const first = await store.setState('route/flux', value, 0);
      assert.deepEqual(first, { applied: true, entry: { key: 'route/flux', value, version: 1 } });
      const revision = await other.stateRevision();
      assert.ok(revision > before);
      assert.deepEqual(await other.setState('route/flux', 'mine', 0), {
        applied: false,
        entry: first.entry,
      });
      assert.deepEqual(await other.setState('route/flux', 'mine', 2), {
        applied: false,
        entry: first.entry,
      });
      assert.deepEqual(await other.setState('route/none', 'mine', 1), { applied: false, entry: undefined });
      assert.equal(await store.stateRevision(), revision);
      const second = await other.setState('route/flux', null, 1);
      assert.deepEqual(second, { applied: true, entry: { key: 'route/flux', value: null, version: 2 } });
      assert.ok((await store.stateRevision()) > revision);
      await store.setState('stage/flux', 1, 0);
      await store.setState('route/_%', 2, 0);
      assert.deepEqual(await store.listState('route/'), [
        { key: 'route/_%', value: 2, version: 1 },
        second.entry,
      ]);
      assert.deepEqual(
        (await store.listState('route/_')).map(({ key }) => key),
        ['route/_%'],
      );
    },
  },
  {
    name: 'loses no change of the state when many make one at once',
    async run({ store, other }) {
      const before = await store.stateRevision();
      const increment = async (through: JobStore): Promise<void> => {
        for (;;) {
          const entry = await through.getState('counter');
          const value = Number(entry?.value ?? 0) + 1;
          if ((await through.setState('counter', value, entry?.version ?? 0)).applied) return;
        }
      };
      await Promise.all(Array.from({ length: 10 }, (_, index) => increment(index % 2 === 0 ? store : other)));
      assert.deepEqual(await store.getState('counter'), { key: 'counter', value: 10, version: 10 });
      assert.equal(await other.stateRevision(), before + 10);
    },
  },
];

const webhooks: readonly JobStoreCase[] = [
  {
    name: 'puts a message into the outbox with the change that it tells of, or not at all',
    async run({ store, other, clock }) {
      const job = await create(store);
      const message = (id: string): { id: string; url: string; payload: string } => ({
        id,
        url: 'https://app.example/hook',
        payload: `{"id":"${id}"}`,
      });
      const both = await Promise.all([
        store.update(job.id, 1, { status: 'running' }, [message('won'), message('also')]),
        store.update(job.id, 1, { status: 'failed' }, [message('lost')]),
      ]);
      const won = both.findIndex((result) => result.applied);
      const expected = won === 0 ? ['also', 'won'] : ['lost'];
      const stored = await other.deliveries(job.id);
      assert.deepEqual(ids(stored).sort(), expected);
      assert.deepEqual(
        stored.map(({ id: _, payload: __, ...rest }) => rest),
        expected.map(() => ({
          jobId: job.id,
          url: 'https://app.example/hook',
          state: 'pending',
          attempts: 0,
          nextAttemptAt: clock.now(),
          createdAt: clock.now(),
          lastError: null,
        })),
      );
      const next = await create(store);
      await store.update(next.id, 1, { status: 'running' }, [message(expected[0] ?? '')]);
      assert.deepEqual(await store.deliveries(next.id), []);
    },
  },
  {
    name: 'hands a message that is due to one sender, again when its lease ran out, and ends it once',
    async run({ store, other, clock }) {
      const job = await create(store);
      const later = clock.now() + 500;
      await store.update(job.id, 1, { status: 'running' }, [
        { id: 'm-1', url: 'https://x', payload: 'p' },
        { id: 'm-2', url: 'https://x', payload: 'p', nextAttemptAt: later },
      ]);
      const lease = (owner: string): { owner: string; ms: number } => ({ owner, ms: LEASE_MS });
      const claims = await Promise.all([
        store.claimDeliveries(lease('a'), 10),
        other.claimDeliveries(lease('b'), 10),
      ]);
      assert.deepEqual(ids(claims.flat()), ['m-1']);
      const [holder, idle] = claims[0].length === 1 ? ['a', 'b'] : ['b', 'a'];
      assert.equal(claims.flat()[0]?.attempts, 1);
      assert.equal(await store.settleDelivery('m-1', idle, { state: 'delivered' }), false);
      clock.advance(LEASE_MS);
      const again = await other.claimDeliveries(lease(idle), 10);
      assert.deepEqual(
        again.map(({ id, attempts }) => [id, attempts]),
        [
          ['m-1', 2],
          ['m-2', 1],
        ],
      );
      assert.equal(await store.settleDelivery('m-1', holder, { state: 'delivered' }), false);
      const at = clock.now() + 1_000;
      const retry = { state: 'pending', nextAttemptAt: at, error: '503' } as const;
      assert.equal(await store.settleDelivery('m-1', idle, retry), true);
      assert.equal(await store.settleDelivery('m-2', idle, { state: 'dead', error: '410' }), true);
      assert.deepEqual(await store.claimDeliveries(lease('a'), 10), []);
      clock.advance(1_000);
      assert.deepEqual(ids(await store.claimDeliveries(lease('a'), 1)), ['m-1']);
      assert.equal(await store.settleDelivery('m-1', 'a', { state: 'delivered' }), true);
      assert.equal(await store.settleDelivery('m-1', 'a', retry), false);
      clock.advance(HOUR);
      assert.deepEqual(await store.claimDeliveries(lease('a'), 10), []);
      assert.deepEqual(
        (await store.deliveries(job.id)).map(({ id, state: at_, lastError }) => [id, at_, lastError]),
        [
          ['m-1', 'delivered', null],
          ['m-2', 'dead', '410'],
        ],
      );
    },
  },
  {
    name: 'remembers an inbound delivery once',
    async run({ store, other }) {
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, index) => (index % 2 === 0 ? store : other).rememberDelivery('msg_1')),
      );
      assert.equal(answers.filter(Boolean).length, 1);
      assert.equal(await store.rememberDelivery('msg_2'), true);
      assert.equal(await other.rememberDelivery('msg_2'), false);
    },
  },
];

const upkeep: readonly JobStoreCase[] = [
  {
    name: 'prunes what ended long ago, but no open job and no message that is still to be delivered',
    async run({ store, clock }) {
      const message = { id: 'm-1', url: 'https://x', payload: 'p' };
      const old = await applied(store, await create(store), { status: 'succeeded', cost: usd(1) });
      const telling = await create(store);
      await store.update(telling.id, 1, { status: 'failed' }, [message]);
      const open = await create(store, { payload: 'p' });
      await store.rememberDelivery('old');
      clock.advance(HOUR);
      const recent = await applied(store, await create(store), { status: 'succeeded' });
      await store.rememberDelivery('recent');
      assert.deepEqual(await store.prune(clock.now()), { jobs: 1, deliveries: 1 });
      assert.equal(await store.get(old.id), undefined);
      for (const { id } of [telling, open, recent]) assert.ok(await store.get(id));
      assert.equal(await store.payload(open.id), 'p');
      assert.equal(await store.rememberDelivery('old'), true);
      assert.equal(await store.rememberDelivery('recent'), false);
      await store.claimDeliveries({ owner: 'a', ms: LEASE_MS }, 10);
      await store.settleDelivery('m-1', 'a', { state: 'dead', error: 'gone' });
      assert.equal((await store.prune(clock.now())).jobs, 1);
      assert.equal(await store.get(telling.id), undefined);
      assert.deepEqual(await store.deliveries(telling.id), []);
      assert.deepEqual(await store.prune(clock.now()), { jobs: 0, deliveries: 0 });
    },
  },
  {
    name: 'writes what is under way before it closes, and takes nothing afterwards',
    async run({ store }) {
      const pending = store.create(intent());
      await store.close();
      assert.equal((await pending).created, true);
      await store.close();
      await refused(store.create(intent()), 'store_closed');
      await refused(store.get(randomUUID()), 'store_closed');
      await refused(store.update(randomUUID(), 1, {}), 'store_closed');
      await refused(store.renew({ owner: 'a', ms: 1 }), 'store_closed');
    },
  },
];

/** The behaviours; every one needs an empty store. */
export const jobStoreConformance: readonly JobStoreCase[] = [
  ...creation,
  ...changes,
  ...leases,
  ...queries,
  ...state,
  ...webhooks,
  ...upkeep,
];
