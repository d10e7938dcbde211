import { type Clock, type ComfyUIService, type Route, systemClock } from '@ryla/business';

import { backendsOf, type MigrationFile } from '../file/migration-file.ts';
import { earlierOf, type Stage, shareOf } from './stage.ts';
import { readStages, type StageStore } from './stage-state.ts';

/** Milliseconds between two looks at the store: a rollback is to be seen within 1,000. */
export const ROUTES_POLL_MS = 200;

/** Options of {@link stagedRoutes}. */
export interface StagedRoutesOptions {
  /** {@link ROUTES_POLL_MS} without it. */
  readonly pollMs?: number;
  readonly clock?: Clock;
  /** Hears when the store cannot be read; the routes then stay as they are. */
  readonly onProblem?: (error: unknown) => void;
  /** Hears when an endpoint's stage changes here. */
  readonly onStage?: (endpoint: string, stage: Stage) => void;
}

/** Keeps the routes of a running service. */
export interface StagedRoutes extends AsyncDisposable {
  /** The stage by which an endpoint's jobs are routed here now. */
  stageOf(endpoint: string): Stage;
  /** Stops looking; the routes stay as they are. */
  close(): Promise<void>;
}

/**
 * Keeps the routes of a running service at the stages in effect: the earlier of the stored and the permitted one. Every instance
 * looks at the store by itself; only new jobs are affected, those in flight finish where they are.
 *
 * Resolves when the routes are set for the first time; rejects when the store cannot be read then, so that no service starts with
 * routes that somebody has rolled back.
 */
export async function stagedRoutes(
  service: Pick<ComfyUIService, 'routes'>,
  store: StageStore,
  file: MigrationFile | (() => MigrationFile),
  options: StagedRoutesOptions = {},
): Promise<StagedRoutes> {
  const { pollMs = ROUTES_POLL_MS, clock = systemClock } = options;
  const current = (): MigrationFile => (typeof file === 'function' ? file() : file);
  const stages = new Map<string, Stage>();
  let seen: { readonly revision: number; readonly file: MigrationFile } | undefined;
  let running: Promise<void> = Promise.resolve();
  let closed = false;
  let cancel = (): void => undefined;

  async function look(): Promise<void> {
    const revision = await store.stateRevision();
    const now = current();
    if (seen?.revision === revision && seen.file === now) return;
    const stored = await readStages(store);
    // One that was closed meanwhile changes nothing any more.
    if (isTrue(closed)) return;
    for (const [endpoint, migration] of Object.entries(now.endpoints)) {
      const stage = earlierOf(stored.get(endpoint)?.stage ?? 'off', migration.stage);
      if (stages.get(endpoint) === stage) continue;
      service.routes.set(endpoint, routeOf(stage, backendsOf(migration, endpoint)));
      stages.set(endpoint, stage);
      options.onStage?.(endpoint, stage);
    }
    // The revision of before: what changed while the stages were read is read again.
    seen = { revision, file: now };
  }

  function again(): void {
    cancel = clock.setTimer(
      pollMs,
      () => {
        running = look()
          .catch((error: unknown) => options.onProblem?.(error))
          .then(() => {
            if (!isTrue(closed)) again();
          });
      },
      { background: true },
    );
  }

  await look();
  again();
  const close = async (): Promise<void> => {
    closed = true;
    cancel();
    await running;
  };
  return {
    stageOf: (endpoint) => stages.get(endpoint) ?? 'off',
    close,
    [Symbol.asyncDispose]: close,
  };
}

/**
 * Where new jobs go at a stage. The new side never takes over what the old one refused before it is live; the old one takes over
 * until nothing is to run there any more.
 */
export function routeOf(
  stage: Stage,
  { old, new: fresh }: { readonly old: string; readonly new: string },
): Route {
  const share = shareOf(stage);
  const isOldOff = stage === 'ramp_down' || stage === 'complete';
  return [
    { backend: fresh, weight: share, failover: share === 1 },
    { backend: old, weight: 1 - share, failover: !isOldOff },
  ];
}

/** Keeps the compiler from narrowing what a callback changes. */
function isTrue(value: boolean): boolean {
  return value;
}
