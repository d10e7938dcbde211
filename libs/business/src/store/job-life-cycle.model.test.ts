/** The life cycle of jobs as a model written a second time, by tables; the stores must do what it does. */
import assert from 'node:assert/strict';

import fc from 'fast-check';
import { describe, it } from 'vitest';

import { type JobStoreTarget, manualClock } from '../testing/index.ts';
import type { JobPatch, JobRecord, StoredJobStatus, SubmissionState } from './job-record.ts';
import type { JobStore } from './job-store.ts';
import { memoryJobStore } from './memory-job-store.ts';
import { sqliteJobStore } from './sqlite-job-store.ts';
import { JobStoreError } from './store-error.ts';

const START = Date.UTC(2026, 0, 1);
const LEASE_MS = 100;
const IDS = [0, 1, 2, 3, 4].map((n) => `0000000${n}-0000-4000-8000-000000000000`);
const OWNERS = ['ann', 'bob'];
const FINAL: readonly StoredJobStatus[] = ['succeeded', 'failed', 'canceled', 'expired', 'lost'];

/** From a status to those that one attempt may reach. */
const STATUS_EDGES: Readonly<Record<string, readonly StoredJobStatus[]>> = {
  queued: ['queued', 'running', 'canceling', ...FINAL],
  running: ['running', 'canceling', ...FINAL],
  canceling: ['canceling', ...FINAL],
};
const SUBMISSION_EDGES: Readonly<Record<SubmissionState, readonly SubmissionState[]>> = {
  intended: ['intended', 'submitted', 'unknown', 'refused'],
  unknown: ['unknown', 'submitted', 'refused'],
  refused: ['refused', 'intended'],
  submitted: ['submitted'],
};

type ManualClock = JobStoreTarget['clock'];

interface ModelJob {
  readonly createdAt: number;
  readonly hash: string;
  version: number;
  attempt: number;
  status: StoredJobStatus;
  submission: SubmissionState;
  backend: string;
  tags: readonly string[];
  finishedAt: number | null;
  held: { readonly owner: string; readonly until: number } | undefined;
}

interface Model {
  now: number;
  readonly jobs: Map<string, ModelJob>;
}

interface Real {
  readonly clock: ManualClock;
  readonly store: JobStore;
}

type Command = fc.AsyncCommand<Model, Real>;
let executed = 0;

function command(name: string, run: (model: Model, real: Real) => Promise<void>): Command {
  return {
    check: () => true,
    async run(model, real) {
      executed += 1;
      await run(model, real);
    },
    toString: () => name,
  };
}

function seen(job: JobRecord): Omit<ModelJob, 'held'> {
  const { createdAt, payloadHash, version, attempt, status, submission, backend, tags, finishedAt } = job;
  return { createdAt, hash: payloadHash, version, attempt, status, submission, backend, tags, finishedAt };
}

function same(job: JobRecord | undefined, expected: ModelJob | undefined): void {
  const { held: _, ...rest } = expected ?? { held: undefined };
  assert.deepEqual(job === undefined ? {} : seen(job), rest);
}

/** What the model makes of a change: the reason why not, or undefined once it is made. */
function change(job: ModelJob, version: number, patch: JobPatch, now: number): string | undefined {
  if (version !== job.version) return 'stale_version';
  const to = { ...job, ...patch };
  if (FINAL.includes(job.status)) {
    if (Object.keys(patch).some((key) => key !== 'tags')) return 'ended';
  } else if (to.attempt < job.attempt || (to.backend !== job.backend && job.submission !== 'refused')) {
    return 'not_allowed';
  } else if (to.attempt > job.attempt) {
    if (job.status === 'canceling' && !FINAL.includes(to.status)) return 'not_allowed';
  } else if (
    STATUS_EDGES[job.status]?.includes(to.status) !== true ||
    !SUBMISSION_EDGES[job.submission].includes(to.submission)
  ) {
    return 'not_allowed';
  }
  const { attempt, status, submission, backend, tags } = to;
  Object.assign(job, { attempt, status, submission, backend, tags, version: version + 1 });
  if (FINAL.includes(status)) {
    job.finishedAt ??= now;
    job.held = undefined;
  }
  return undefined;
}

const id = fc.constantFrom(...IDS);
const owner = fc.constantFrom(...OWNERS);

const create = fc
  .tuple(id, fc.constantFrom('h1', 'h1', 'h2'), fc.option(owner, { nil: undefined }))
  .map(([of, hash, by]) =>
    command(`create(${of[7] ?? ''}, ${hash}, ${by ?? '-'})`, async ({ jobs, now }, { store }) => {
      const known = jobs.get(of);
      const creation = store.create(
        { id: of, endpoint: 'e', backend: 'modal', payloadHash: hash },
        by === undefined ? undefined : { owner: by, ms: LEASE_MS },
      );
      if (known !== undefined && known.hash !== hash) {
        const error: unknown = await creation.catch((reason: unknown) => reason);
        assert.ok(JobStoreError.isInstance(error));
        assert.equal(error.code, 'idempotency_conflict');
        return;
      }
      const made: ModelJob = known ?? {
        createdAt: now,
        hash,
        version: 1,
        attempt: 1,
        status: 'queued',
        submission: 'intended',
        backend: 'modal',
        tags: [],
        finishedAt: null,
        held: by === undefined ? undefined : { owner: by, until: now + LEASE_MS },
      };
      jobs.set(of, made);
      const { job, created } = await creation;
      assert.equal(created, known === undefined);
      same(job, made);
    }),
  );

const patch: fc.Arbitrary<JobPatch> = fc.record(
  {
    status: fc.constantFrom<StoredJobStatus>('queued', 'running', 'running', 'canceling', ...FINAL),
    submission: fc.constantFrom<SubmissionState>('intended', 'submitted', 'unknown', 'refused'),
    attempt: fc.constantFrom(1, 1, 2, 3),
    backend: fc.constantFrom('modal', 'runpod'),
    tags: fc.constantFrom<readonly string[]>([], ['x']),
  },
  { requiredKeys: [] },
);

const update = fc.tuple(id, patch, fc.constantFrom(0, 0, 0, 0, -1, 1)).map(([of, given, off]) =>
  command(`update(${of[7] ?? ''}, ${off}, ${JSON.stringify(given)})`, async ({ jobs, now }, { store }) => {
    const known = jobs.get(of);
    const message = { id: `m-${of}-${known?.version ?? 0}`, url: 'https://x', payload: 'p' };
    const updating = store.update(of, (known?.version ?? 1) + off, given, [message]);
    if (known === undefined) {
      const error: unknown = await updating.catch((reason: unknown) => reason);
      assert.ok(JobStoreError.isInstance(error));
      assert.equal(error.code, 'unknown_job');
      return;
    }
    const reason = change(known, known.version + off, given, now);
    const result = await updating;
    assert.equal(result.applied ? undefined : result.reason, reason);
    same(result.job, known);
    assert.equal((await store.deliveries(of)).length, known.version - 1);
  }),
);

const claim = fc.tuple(owner, fc.integer({ min: 1, max: 4 })).map(([by, limit]) =>
  command(`claim(${by}, ${limit})`, async ({ jobs, now }, { store }) => {
    const free = [...jobs]
      .filter(([, job]) => !FINAL.includes(job.status) && (job.held === undefined || job.held.until <= now))
      .sort(([a, one], [b, other]) => one.createdAt - other.createdAt || (a < b ? -1 : 1))
      .slice(0, limit);
    for (const [, job] of free) job.held = { owner: by, until: now + LEASE_MS };
    const claimed = await store.claim({ owner: by, ms: LEASE_MS }, limit);
    assert.deepEqual(
      claimed.map((job) => job.id),
      free.map(([of]) => of),
    );
  }),
);

const renew = owner.map((by) =>
  command(`renew(${by})`, async ({ jobs, now }, { store }) => {
    const mine = [...jobs].filter(([, { held }]) => held?.owner === by);
    for (const [, job] of mine) job.held = { owner: by, until: now + LEASE_MS };
    const held = await store.renew({ owner: by, ms: LEASE_MS });
    assert.deepEqual(held, mine.map(([of]) => of).sort());
  }),
);

const release = fc.tuple(owner, fc.option(id, { nil: undefined })).map(([by, of]) =>
  command(`release(${by}, ${of?.[7] ?? 'all'})`, async ({ jobs }, { store }) => {
    for (const [key, job] of jobs)
      if (job.held?.owner === by && (of === undefined || of === key)) job.held = undefined;
    await (of === undefined ? store.release(by) : store.release(by, [of]));
  }),
);

const advance = fc.constantFrom(1, LEASE_MS - 1, LEASE_MS).map((ms) =>
  command(`advance(${ms})`, (model, { clock }) => {
    model.now += ms;
    clock.advance(ms);
    return Promise.resolve();
  }),
);

const look = id.map((of) =>
  command(`look(${of[7] ?? ''})`, async ({ jobs }, { store }) => {
    same(await store.get(of), jobs.get(of));
    const { jobs: listed } = await store.list();
    assert.deepEqual(listed.map((job) => job.id).sort(), [...jobs.keys()].sort());
    const counts = await store.count({ status: FINAL });
    const ended = [...jobs.values()].filter(({ status }) => FINAL.includes(status)).length;
    assert.equal(
      Object.values(counts).reduce((sum, count) => sum + count, 0),
      ended,
    );
  }),
);

const prune = fc.constantFrom(0, LEASE_MS).map((age) =>
  command(`prune(${age})`, async ({ jobs, now }, { store }) => {
    for (const { id: message } of await store.claimDeliveries({ owner: 'sender', ms: 1 }, 1_000))
      await store.settleDelivery(message, 'sender', { state: 'delivered' });
    const gone = [...jobs].filter(([, { finishedAt }]) => finishedAt !== null && finishedAt < now - age);
    for (const [of] of gone) jobs.delete(of);
    assert.equal((await store.prune(now - age)).jobs, gone.length);
  }),
);

const commands = fc.commands(
  [create, create, update, update, update, update, update, claim, renew, release, advance, look, prune],
  { maxCommands: 80, size: 'max' },
);

describe.each([
  { name: 'memory', open: (clock: ManualClock) => Promise.resolve(memoryJobStore({ clock })) },
  { name: 'SQLite', open: (clock: ManualClock) => sqliteJobStore({ path: ':memory:', clock }) },
])('model of the life cycle, $name store', ({ open }) => {
  it('does in 10,000 commands and more what the model does', async () => {
    executed = 0;
    await fc.assert(
      fc.asyncProperty(commands, async (given) => {
        const clock = manualClock(START);
        await using store = await open(clock);
        await fc.asyncModelRun(
          () => ({ model: { now: START, jobs: new Map() }, real: { clock, store } }),
          given,
        );
      }),
      { numRuns: 300 },
    );
    assert.ok(executed >= 10_000, `only ${executed} commands were run`);
  }, 120_000);
});
