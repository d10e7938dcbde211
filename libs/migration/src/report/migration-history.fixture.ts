/** A migration that has gone on for some days, written into a job store. */
import { randomUUID } from 'node:crypto';

import type { JobPatch, JobStore } from '@ryla/business';
import type { ManualClock } from '@ryla/business/testing';

import { PARITY_TAGS, SHADOW_TAG } from '../gates/observation.ts';
import { seeded } from '../seeded.ts';
import { shareOf, type Stage } from '../stages/stage.ts';
import { type Change, changeStage, moved } from '../stages/stage-state.ts';

/** A move at an hour after the beginning. */
export interface Move extends Change {
  readonly hour: number;
  readonly to: Stage;
}

/** What is written. */
export interface Story {
  readonly endpoint: string;
  /** In the order of their hours. */
  readonly moves: readonly Move[];
  /** Hours from the clock's moment to the end. */
  readonly hours: number;
  readonly jobsPerHour: number;
  /** Share of the jobs that also run as shadow jobs, while that is so. */
  readonly shadowShare: number;
  /** Share of the new side's jobs that fail at an hour; the old side's is 0.4 %. */
  readonly failing?: (hour: number) => number;
  /** Milliseconds of an execution on the old side, and how much slower the new one is. */
  readonly executionMs: number;
  readonly slower: number;
}

const HOUR_MS = 3_600_000;

/** Writes moves and jobs, the clock going with them to the end. */
export async function tellMigration(store: JobStore, clock: ManualClock, story: Story): Promise<void> {
  const { endpoint, hours, jobsPerHour, shadowShare } = story;
  const random = seeded(endpoint.length);
  const begin = clock.now();
  const moves = [...story.moves];
  let stage: Stage = 'off';
  while (clock.now() - begin < hours * HOUR_MS) {
    const hour = (clock.now() - begin) / HOUR_MS;
    while (moves[0] !== undefined && moves[0].hour <= hour) {
      const { to, by, reason } = moves[0];
      await changeStage(store, endpoint, (state) => moved(state, to, { by, reason }, clock.now()));
      stage = to;
      moves.shift();
    }
    const isNew = random() < shareOf(stage);
    await run(story, { store, clock, random }, isNew ? 'new' : 'old', hour, []);
    const shadowed =
      stage === 'live' ? 'old' : stage === 'shadow' || stage.startsWith('canary') ? 'new' : undefined;
    if (shadowed === 'new' && !isNew && random() < shadowShare)
      await run(story, { store, clock, random }, 'new', hour, [
        SHADOW_TAG,
        random() < 0.002 ? PARITY_TAGS.differs : PARITY_TAGS.same,
      ]);
    // More by day than by night.
    const rate = jobsPerHour * (1 + 0.6 * Math.sin((2 * Math.PI * (hour - 3)) / 24));
    clock.advance(Math.round((-Math.log(1 - random()) * HOUR_MS) / rate));
  }
}

async function run(
  { endpoint, executionMs, slower, failing = () => 0.004 }: Story,
  { store, clock, random }: { store: JobStore; clock: ManualClock; random: () => number },
  side: 'old' | 'new',
  hour: number,
  tags: readonly string[],
): Promise<void> {
  const isNew = side === 'new';
  const { job } = await store.create({
    id: randomUUID(),
    endpoint,
    backend: `${isNew ? 'modal' : 'runpod'}:${endpoint}`,
    payloadHash: 'h',
    tags,
  });
  const coldStartMs = random() < 0.025 ? 9_000 + 4_000 * random() : 0;
  const ran = executionMs * (isNew ? slower : 1) * (0.85 + 0.4 * random());
  const hasFailed = random() < (isNew ? failing(hour) : 0.004);
  const queueMs = 150 + 400 * random();
  clock.advance(Math.round(ran + coldStartMs + queueMs));
  await store.update(job.id, job.version, {
    ...(hasFailed ? FAILED : SUCCEEDED),
    submission: 'submitted',
    timings: { queueMs, coldStartMs, executionMs: ran, uploadMs: null, downloadMs: null },
    cost: {
      usd: ((ran + coldStartMs) / 1_000) * (isNew ? 0.000542 : 0.00053),
      ...{ estimated: false, gpu: 'L40S', pricesOf: '2026-11-01' },
    },
  });
}

const SUCCEEDED: JobPatch = {
  status: 'succeeded',
  outputs: [
    {
      ...{ nodeId: '2', name: 'picture_00001_.png', kind: 'image', contentType: 'image/png' },
      ...{ size: 1_000, sha256: null, source: null },
    },
  ],
};

const FAILED: JobPatch = {
  status: 'failed',
  error: {
    ...{ code: 'worker_lost', message: 'It died.', nodeId: null, classType: null, hint: null },
    retryable: false,
  },
};
