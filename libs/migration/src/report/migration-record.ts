/** The state of a migration for a report: stages, gates, and what the job store has of both sides. */
import { type Clock, type JobStore, systemClock } from '@ryla/business';

import { backendsOf, migrationOf, parseMigrationFile } from '../file/migration-file.ts';
import { createMigration, type MigrationStatus } from '../stages/migration.ts';
import { compareStages, type Stage } from '../stages/stage.ts';
import { type JobSeries, readJobSeries } from './job-series.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;

/** Days of jobs that a report reads at most. */
export const REPORTED_DAYS = 90;

/** Days of jobs that it reads of an endpoint whose stage nobody has moved. */
const UNMOVED_DAYS = 30;

/** One endpoint. */
export interface MigrationRecord {
  readonly status: MigrationStatus;
  readonly backends: { readonly old: string; readonly new: string };
  readonly series: JobSeries;
  /** When all of it was read; milliseconds since 1970. */
  readonly readAt: number;
}

/** Where it is read. */
export interface MigrationRecordOptions {
  readonly store: JobStore;
  /** Text of ryla.migration.json. */
  readonly fileText: () => Promise<string>;
  /** Only these, as far as the file names them; all of the file without it. */
  readonly endpoints?: readonly string[];
  readonly clock?: Pick<Clock, 'now'>;
}

/** Reads the endpoints of the migration file. Changes nothing. */
export async function readMigrationRecords({
  store,
  fileText,
  endpoints,
  clock = systemClock,
}: MigrationRecordOptions): Promise<readonly MigrationRecord[]> {
  const text = await fileText();
  const file = parseMigrationFile(text);
  const all = createMigration({ store, clock, fileText: () => Promise.resolve(text) });
  const records: MigrationRecord[] = [];
  for (const endpoint of Object.keys(file.endpoints)) {
    if (endpoints !== undefined && !endpoints.includes(endpoint)) continue;
    const status = await all.status(endpoint);
    const migration = migrationOf(file, endpoint);
    const backends = backendsOf(migration, endpoint);
    const readAt = clock.now();
    const begin = status.state.history[0]?.at;
    const series = await readJobSeries(store, {
      ...{ endpoint, backends },
      since: readAt - (begin === undefined ? UNMOVED_DAYS : REPORTED_DAYS) * DAY_MS,
      begin,
      now: readAt,
      stuckAfterMs: migration.stuckAfterMinutes * 60_000,
    });
    records.push({ status, backends, series, readAt });
  }
  return records;
}

/** A time during which one stage was in effect, as far as the store knows. */
export interface StagePeriod {
  readonly stage: Stage;
  /** Milliseconds since 1970. */
  readonly from: number;
  readonly to: number;
  /** Whether it began by going back. */
  readonly isRollback: boolean;
}

/** The stages from one moment to another, in order; changes that the store has forgotten are as the oldest that it knows. */
export function stagePeriods(
  { status: { state } }: Pick<MigrationRecord, 'status'>,
  from: number,
  to: number,
): readonly StagePeriod[] {
  const { history } = state;
  const all = [
    { stage: history[0]?.from ?? state.stage, at: -Infinity, isRollback: false },
    ...history.map((change) => ({
      stage: change.to,
      at: change.at,
      isRollback: compareStages(change.to, change.from) < 0,
    })),
  ];
  return all
    .map(({ stage, at, isRollback }, index) => ({
      stage,
      from: Math.max(at, from),
      to: Math.min(all[index + 1]?.at ?? to, to),
      isRollback: isRollback && at >= from,
    }))
    .filter((period) => period.to > period.from);
}
