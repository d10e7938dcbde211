import assert from 'node:assert/strict';

import type { JobRecord } from '@ryla/business';
import { describe, it } from 'vitest';

import { countRun, type Evidence, GATED, USD_PER_DAY } from './count.ts';
import type { EngineRuns } from './engine.ts';

const ENDPOINTS = ['flux', 'zimage'];
/** When the new side broke, and when the judge went back. */
const [BROKEN, BACK] = [100_000, 120_000];

function job(id: string, createdAt: number, more: Partial<JobRecord> = {}): JobRecord {
  return {
    id,
    version: 3,
    endpoint: 'flux',
    backend: 'runpod:flux',
    routeKey: null,
    payloadHash: '',
    attempt: 1,
    submission: 'submitted',
    providerRef: null,
    status: 'succeeded',
    createdAt,
    submittedAt: createdAt,
    startedAt: createdAt,
    finishedAt: createdAt + 500,
    resultExpiresAt: null,
    timings: {
      queueMs: 0,
      coldStartMs: null,
      executionMs: 400,
      uploadMs: null,
      downloadMs: null,
    },
    cost: null,
    error: null,
    outputs: [],
    warnings: [],
    webhookSecretHash: null,
    traceparent: null,
    tags: [],
    ...more,
  };
}

const once: EngineRuns = { started: 1, completed: 1, sides: new Set(['runpod']) };

/** A run in which everything held: three jobs of users, one of them with a shadow, one that the fault made fail. */
function evidence(more: Partial<Evidence> = {}): Evidence {
  const records = [
    job('a', 50_000),
    job('a-shadow', 50_001, {
      backend: 'modal:flux',
      tags: ['migration:shadow', 'migration:shadow:of:a'],
    }),
    job('b', 110_000, { backend: 'modal:flux', status: 'failed' }),
    job('c', 250_000),
  ];
  const stage = (endpoint: string, history: object[]) => ({
    key: `migration/stage/${endpoint}`,
    value: { stage: 'complete', history } as never,
    version: 1,
  });
  return {
    ledger: {
      type: 'ledger',
      asked: 3,
      succeeded: 2,
      failed: 1,
      unanswered: [],
      repeated: [],
      empty: [],
    },
    refusals: ENDPOINTS.flatMap((endpoint) =>
      GATED.map((each) => ({
        endpoint,
        stage: each,
        at: 0,
        reasons: [
          '- Only 3 jobs have run on the new side at this stage; it takes 20.',
          '- errorRate: new 0, old 0; … There are 3 jobs; the claim needs about 30.',
        ],
      })),
    ),
    told: {
      brokenAt: BROKEN,
      broken: 'flux',
      capAt: 200_000,
      capUntil: 300_000,
      isCopiedAgain: false,
      workers: new Map([
        ['x', { min: 0, max: 0 }],
        ['y', { min: 0, max: 0 }],
      ]),
      left: { endpoints: [], templates: [], networkVolumes: [] },
    },
    events: [
      { service: 1, told: { type: 'rollback', endpoint: 'flux', reason: '', at: BACK + 5 } },
      ...[0, 1, 2].map((service) => ({
        service,
        told: {
          type: 'stage' as const,
          endpoint: 'flux',
          stage: 'models_verified' as const,
          at: BACK + 200,
        },
      })),
      {
        service: 0,
        told: { type: 'submitted', n: 3, jobId: 'c', backend: 'runpod:flux', at: BACK + 2_000 },
      },
    ],
    services: 3,
    endpoints: ENDPOINTS,
    runs: new Map([
      ['a', once],
      ['b', { started: 1, completed: 0, sides: new Set(['modal']) }],
      ['c', once],
    ]),
    records,
    spend: [{ endpoint: 'flux', at: 0, usd: USD_PER_DAY / 2, jobs: 1 }],
    stages: [
      stage('flux', [{ at: BACK, from: 'canary_25', to: 'models_verified', by: 'automatic' }]),
      stage('zimage', []),
    ],
    ...more,
  };
}

function broken(more: Partial<Evidence>): string[] {
  return countRun(evidence(more))
    .filter(({ held }) => !held)
    .map(({ name }) => name);
}

function withJob(index: number, more: Partial<JobRecord>): readonly JobRecord[] {
  return evidence().records.map((each, at) => (at === index ? { ...each, ...more } : each));
}

describe('the counting of a run', () => {
  it('finds nothing wrong where nothing is', () => {
    assert.deepEqual(broken({}), []);
  });

  it('sees a job that the client never got, one without a picture, and one that the store lost', () => {
    const { ledger } = evidence();
    assert.deepEqual(broken({ ledger: { ...ledger, unanswered: [3] } }), ['jobs lost']);
    assert.deepEqual(broken({ ledger: { ...ledger, empty: [3] } }), ['jobs lost']);
    assert.ok(broken({ records: withJob(3, { status: 'lost' }) }).includes('jobs lost'));
    assert.ok(broken({ records: evidence().records.slice(0, 3) }).includes('jobs lost'));
  });

  it('sees a job that ran twice, on either side or on both, and one that was answered twice', () => {
    const ran = (runs: EngineRuns) => broken({ runs: new Map([...evidence().runs, ['c', runs]]) });
    assert.deepEqual(ran({ ...once, started: 2 }), ['run twice']);
    assert.deepEqual(ran({ ...once, completed: 2 }), ['run twice']);
    assert.deepEqual(ran({ ...once, sides: new Set(['runpod', 'modal']) }), ['run twice']);
    assert.deepEqual(broken({ ledger: { ...evidence().ledger, repeated: [1] } }), ['run twice']);
    assert.deepEqual(broken({ records: [...evidence().records, job('d', 60_000)] }), ['run twice']);
  });

  it('sees two shadows of one job', () => {
    const again = { ...evidence().records[1]!, id: 'a-shadow-2' };
    assert.deepEqual(broken({ records: [...evidence().records, again] }), ['run twice']);
  });

  it('allows failures by the fault alone', () => {
    const late = { createdAt: BACK + 1_001 };
    assert.deepEqual(broken({ records: withJob(2, late) }), ['other failures']);
    assert.deepEqual(broken({ records: withJob(2, { backend: 'runpod:flux' }) }), ['other failures']);
  });

  it('sees a service that did not hear of the rollback, or heard too late', () => {
    const { events } = evidence();
    assert.deepEqual(broken({ events: events.filter((_, index) => index !== 3) }), ['rollback seen']);
    const late = events.map((each) =>
      each.service === 2 && each.told.type === 'stage'
        ? { ...each, told: { ...each.told, at: BACK + 1_001 } }
        : each,
    );
    assert.deepEqual(broken({ events: late }), ['rollback seen']);
  });

  it('sees a job that went to the new side after the rollback', () => {
    const { events } = evidence();
    const told = {
      type: 'submitted' as const,
      n: 9,
      jobId: 'x',
      backend: 'modal:flux',
      at: BACK + 1_001,
    };
    assert.deepEqual(broken({ events: [...events, { service: 0, told }] }), ['after the rollback']);
  });

  it('sees that nobody rolled back, or two did, or the other endpoint was', () => {
    const { stages, events } = evidence();
    assert.ok(broken({ stages: [{ ...stages[1]!, key: 'migration/stage/flux' }, stages[1]!] }).length >= 3);
    assert.deepEqual(broken({ events: [...events, { ...events[0]!, service: 2 }] }), ['automatic rollback']);
    const both = [stages[0]!, { ...stages[0]!, key: 'migration/stage/zimage' }];
    assert.deepEqual(broken({ stages: both }), ['automatic rollback']);
  });

  it('sees money above the cap, and a shadow job where the cap allowed none', () => {
    const over = { endpoint: 'flux', at: 0, usd: USD_PER_DAY + 0.01, jobs: 1 };
    assert.deepEqual(broken({ spend: [over] }), ['shadow spend']);
    const more = { ...evidence().records[1]!, id: 's', createdAt: 260_000, tags: ['migration:shadow'] };
    assert.deepEqual(broken({ records: [...evidence().records, more] }), ['cap reached']);
  });

  it('sees a gate that let somebody through, or did not say its numbers', () => {
    const { refusals } = evidence();
    assert.deepEqual(broken({ refusals: refusals.slice(1) }), ['gates refuse early']);
    const vague = refusals.map((each) => ({ ...each, reasons: ['- Not yet.'] }));
    assert.deepEqual(broken({ refusals: vague }), ['gates refuse early']);
  });

  it('sees an end that is none', () => {
    const { told } = evidence();
    const workers = new Map([...told.workers, ['y', { min: 0, max: 1 }] as const]);
    assert.deepEqual(broken({ told: { ...told, workers } }), ['the end']);
    const left = { ...told.left, templates: [{ id: 'tpl', name: 'flux' }] };
    assert.deepEqual(broken({ told: { ...told, left } }), ['deleted']);
    assert.deepEqual(broken({ told: { ...told, isCopiedAgain: true } }), ['second copy']);
  });
});
