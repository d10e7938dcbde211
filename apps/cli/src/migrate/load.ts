/** How much the team runs, as the command line says it. */
import type { Volume } from '@ryla/migration';

import { UsageError } from '../exit-codes.ts';
import type { MigrateOptions } from './migration-place.ts';

/** Options of what projects a month's cost. */
export interface LoadOptions extends MigrateOptions {
  readonly jobsPerMonth?: number;
  readonly hoursPerDay?: number;
}

/** A month's volume; undefined where none is told. */
export function volumeOf({ jobsPerMonth, hoursPerDay }: LoadOptions): Volume | undefined {
  if (jobsPerMonth === undefined) {
    if (hoursPerDay !== undefined) throw new UsageError('--hours-per-day belongs to --jobs-per-month.');
    return undefined;
  }
  if (hoursPerDay !== undefined && (hoursPerDay === 0 || hoursPerDay > 24))
    throw new UsageError('--hours-per-day is above 0 and at most 24.');
  return { jobsPerMonth, ...(hoursPerDay === undefined ? {} : { hoursPerDay }) };
}
