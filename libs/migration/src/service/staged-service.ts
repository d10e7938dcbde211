/** The service of an application whose endpoints move from one cloud to another. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';

import type { ComfyUIService, ComfyUIServiceOptions } from '@ryla/business';
import { ComfyUIServiceError, systemClock } from '@ryla/business';
import {
  type ConfiguredService,
  createServiceFromConfig,
  MIGRATION_FILE,
  migrationPath,
  type ResolvedConfig,
} from '@ryla/business/config';
import type { EndpointConfig } from '@ryla/workflow';

import type { MigrationFile } from '../file/migration-file.ts';
import { startJudge } from '../stages/judge.ts';
import { createMigration, type Migration } from '../stages/migration.ts';
import {
  type CompareResults,
  createShadowRunner,
  shadowing,
  type ShadowRunner,
} from '../stages/shadow-runner.ts';
import type { Stage } from '../stages/stage.ts';
import { stagedRoutes } from '../stages/staged-routes.ts';
import { watchedFile } from './watched-file.ts';

/** Options of {@link createStagedService}. */
export interface StagedServiceOptions extends Pick<ComfyUIServiceOptions, 'webhooks'> {
  /** Runs a sampled share of the real jobs on the other side too. `compare` judges what both made. None without it. */
  readonly shadow?: { readonly compare?: CompareResults };
  /** Takes part in judging: automatic rollback by the one instance that holds the lease. Not without it. */
  readonly judge?: boolean;
  /** Hears when an endpoint's stage changes here. */
  readonly onStage?: (endpoint: string, stage: Stage) => void;
  /** Hears of every rollback that this instance has done by itself. */
  readonly onRollback?: (rollback: Awaited<ReturnType<Migration['judge']>>[number]) => void;
  /** Hears of everything that went wrong beside the jobs: store, migration file, shadow jobs. */
  readonly onProblem?: (error: unknown) => void;
}

/** A service whose routes follow the stages. */
export interface StagedService extends ConfiguredService {
  /** The stage by which an endpoint's jobs are routed here now; `off` for one that the file does not name. */
  stageOf(endpoint: string): Stage;
  readonly migration: Migration;
  /**
   * Waits until shadow jobs of what was submitted are handed over, for at most so many milliseconds: for a process that is about to end.
   * Another one on the same job store sees to them then.
   */
  shadowsHandedOver(patienceMs: number): Promise<void>;
}

/** Milliseconds between two looks for shadow jobs that other processes have left. */
const COLLECT_MS = 60_000;

/**
 * The service that a configuration describes; the jobs of endpoints that its migration file names go where their stages say.
 * Closing the service ends the rest too. The file is read again whenever it changes.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration`, also where `routes` name an endpoint of the migration, or there is none.
 * @throws {MigrationError} `invalid_file`.
 */
export async function createStagedService(
  resolved: ResolvedConfig,
  endpoints: readonly EndpointConfig[],
  options: StagedServiceOptions = {},
): Promise<StagedService> {
  const { onProblem = () => undefined } = options;
  const place = migrationPath(resolved);
  if (place === undefined)
    throw new ComfyUIServiceError(
      'invalid_configuration',
      `There is no ${path.join(resolved.root, MIGRATION_FILE)}.`,
      { hint: '`ryla migrate import` writes one.' },
    );
  const file = watchedFile(place, onProblem);
  refuseRoutes(resolved, file());
  const { webhooks } = options;
  const more = { onProblem, ...(webhooks === undefined ? {} : { webhooks }) };
  const opened = await createServiceFromConfig(resolved, endpoints, more);
  try {
    return await staged(opened, { place, file, onProblem }, options);
  } catch (error) {
    await opened.service.close();
    throw error;
  }
}

interface Source {
  readonly place: string;
  readonly file: () => MigrationFile;
  readonly onProblem: (error: unknown) => void;
}

async function staged(
  opened: ConfiguredService,
  { place, file, onProblem }: Source,
  { shadow, judge, onStage, onRollback }: StagedServiceOptions,
): Promise<StagedService> {
  const { service: inner, store } = opened;
  const routes = await stagedRoutes(inner, store, file, {
    onProblem,
    ...(onStage === undefined ? {} : { onStage }),
  });
  const stageOf = (endpoint: string): Stage => routes.stageOf(endpoint);
  const migration = createMigration({ store, fileText: () => readFile(place, 'utf8') });
  const runner =
    shadow === undefined
      ? undefined
      : createShadowRunner({
          ...shadow,
          service: inner,
          store,
          file,
          stageOf,
          onProblem: (_, error) => onProblem(error),
        });
  const collecting = runner === undefined ? undefined : collectAgainAndAgain(runner);
  const heard = onRollback === undefined ? {} : { onRollback };
  const judging =
    judge === true ? startJudge({ store, migration, owner: randomUUID(), onProblem, ...heard }) : undefined;
  const close = async (): Promise<void> => {
    collecting?.[Symbol.dispose]();
    await judging?.[Symbol.asyncDispose]();
    await runner?.close();
    await routes.close();
    await inner.close();
  };
  const service: ComfyUIService = runner === undefined ? inner : shadowing(inner, runner);
  return {
    ...opened,
    service: { ...service, close, [Symbol.asyncDispose]: close },
    stageOf,
    migration,
    shadowsHandedOver: async (patienceMs) => runner?.handedOver(patienceMs),
  };
}

/** At once, and then every minute. */
function collectAgainAndAgain(runner: Pick<ShadowRunner, 'collect'>): Disposable {
  let isClosed = false;
  let cancel = (): void => undefined;
  function plan(ms: number): void {
    cancel = systemClock.setTimer(ms, () => void runner.collect().then(next), { background: true });
  }
  function next(): void {
    if (!isClosed) plan(COLLECT_MS);
  }
  plan(0);
  return {
    [Symbol.dispose]() {
      isClosed = true;
      cancel();
    },
  };
}

/** Two places that decide the same would contradict each other. */
function refuseRoutes({ config }: ResolvedConfig, { endpoints }: MigrationFile): void {
  const both = Object.keys(config.routes ?? {}).filter((name) => Object.hasOwn(endpoints, name));
  if (both.length === 0) return;
  throw new ComfyUIServiceError(
    'invalid_configuration',
    `Both ryla.config.ts (routes) and the migration file say where the jobs of ${both.join(', ')} go.`,
    { hint: 'Remove them from "routes": the stages of the migration decide.' },
  );
}
