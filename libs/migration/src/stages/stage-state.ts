/** The effective stage of each endpoint, in the key-value state of the job store. */
import type { JobStore, JsonValue, StateEntry } from '@ryla/business';
import { z } from 'zod';

import { MigrationError } from '../migration-error.ts';
import { type Stage, stage } from './stage.ts';

/** Keys of the state begin with it. */
export const STATE_PREFIX = 'migration/stage/';

/** Changes that are remembered with the state. */
const HISTORY = 50;

const change = z.object({
  /** Milliseconds since 1970. */
  at: z.number(),
  from: stage,
  to: stage,
  by: z.string(),
  reason: z.string(),
});

const stageState = z.object({
  stage,
  /** When the stage began, and from when on jobs are evidence for the next one; milliseconds since 1970. */
  since: z.number(),
  evidenceSince: z.number(),
  /** Why nothing goes on; null when it may. */
  hold: z.object({ at: z.number(), by: z.string(), reason: z.string() }).nullable(),
  /** The oldest first. */
  history: z.array(change),
});

/** State of an endpoint's migration. */
export type StageState = z.infer<typeof stageState>;

/** A move from one stage to another. */
export type StageChange = z.infer<typeof change>;

/** Who changes something, and why. */
export interface Change {
  /** A person, or `automatic`. */
  readonly by: string;
  readonly reason: string;
}

/** The state of an endpoint that nobody has touched. */
const UNTOUCHED: StageState = { stage: 'off', since: 0, evidenceSince: 0, hold: null, history: [] };

/** Part of the job store that holds the stages. */
export type StageStore = Pick<JobStore, 'getState' | 'setState' | 'listState' | 'stateRevision'>;

/**
 * State of an endpoint.
 *
 * @throws {MigrationError} `invalid_state` when what is stored cannot be read.
 */
export async function readStage(store: StageStore, endpoint: string): Promise<StageState> {
  return parsed(await store.getState(keyOf(endpoint)), endpoint);
}

/** State of all endpoints that somebody has touched. */
export async function readStages(store: StageStore): Promise<ReadonlyMap<string, StageState>> {
  const entries = await store.listState(STATE_PREFIX);
  return new Map(
    entries.map((entry) => {
      const endpoint = entry.key.slice(STATE_PREFIX.length);
      return [endpoint, parsed(entry, endpoint)];
    }),
  );
}

/**
 * Changes the state by what is stored, again whenever somebody else was quicker. `next` may run several times, and returns
 * undefined to leave it.
 */
export async function changeStage(
  store: StageStore,
  endpoint: string,
  next: (state: StageState) => StageState | undefined,
): Promise<{ readonly before: StageState; readonly after: StageState | undefined }> {
  for (;;) {
    const entry = await store.getState(keyOf(endpoint));
    const before = parsed(entry, endpoint);
    const after = next(before);
    if (after === undefined) return { before, after };
    const { applied } = await store.setState(keyOf(endpoint), toJson(after), entry?.version ?? 0);
    if (applied) return { before, after };
  }
}

/** The state after a move. */
export function moved(state: StageState, to: Stage, { by, reason }: Change, at: number): StageState {
  const isBack = to === 'off' || to === 'models_verified' || to === 'shadow';
  return {
    ...state,
    stage: to,
    since: at,
    // What was measured before a rollback says nothing about what is tried afterwards.
    evidenceSince: isBack ? at : state.evidenceSince,
    history: [...state.history, { at, from: state.stage, to, by, reason }].slice(-HISTORY),
  };
}

function keyOf(endpoint: string): string {
  return `${STATE_PREFIX}${endpoint}`;
}

function parsed(entry: StateEntry | undefined, endpoint: string): StageState {
  if (entry === undefined) return UNTOUCHED;
  const result = stageState.safeParse(entry.value);
  if (result.success) return result.data;
  throw new MigrationError('invalid_state', `The stage of ${endpoint} in the job store cannot be read.`, {
    endpoint,
    cause: result.error,
    hint: 'A newer release may have written it.',
  });
}

function toJson(state: StageState): JsonValue {
  return { ...state, hold: state.hold, history: state.history.map((each) => ({ ...each })) };
}
