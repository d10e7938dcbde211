import { readFile } from 'node:fs/promises';
import path from 'node:path';

import { MIGRATION_FILE } from '@ryla/business/config';
import { z } from 'zod';

import { thresholds } from '../gates/thresholds.ts';
import { MigrationError } from '../migration-error.ts';
import { stage } from '../stages/stage.ts';

export { MIGRATION_FILE };

/** Where editors find the schema, from the root of the workspace. */
export const MIGRATION_SCHEMA = './libs/migration/schema/migration.schema.json';

const endpointMigration = z.strictObject({
  stage: stage
    .default('off')
    .describe('highest stage permitted; the job store holds the stage in effect, which is never above it'),
  backends: z
    .strictObject({ old: z.string().min(1), new: z.string().min(1) })
    .optional()
    .describe('backends of the service; runpod:<endpoint> and modal:<endpoint> without it'),
  shadow: z
    .strictObject({
      share: z
        .number()
        .min(0)
        .max(1)
        .default(0.05)
        .describe('share of the real jobs that also run on the other side'),
      usdPerDay: z
        .number()
        .nonnegative()
        .default(5)
        .describe('US dollars a day (UTC) that shadow jobs may cost'),
    })
    .prefault({}),
  minimumHours: z.number().nonnegative().default(1).describe('hours in a stage before the next one'),
  liveDays: z.number().nonnegative().default(7).describe('days in live before ramp_down'),
  quietHours: z
    .number()
    .nonnegative()
    .default(24)
    .describe('hours without a job on the old side before complete'),
  stuckAfterMinutes: z
    .number()
    .positive()
    .default(60)
    .describe('minutes after which a job that has not ended counts as one without measurements'),
  thresholds: thresholds.prefault({}),
});

/** ryla.migration.json: what a migration may do. It changes by pull request. */
export const migrationFile = z.strictObject({
  $schema: z.string().optional(),
  endpoints: z
    .record(z.string().regex(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, 'the name of an endpoint'), endpointMigration)
    .default({})
    .describe('by the names of endpoints; an endpoint that is absent stays where its routes say'),
});

/** A checked file with its defaults. */
export type MigrationFile = z.infer<typeof migrationFile>;

/** What the file says of one endpoint. */
export type EndpointMigration = MigrationFile['endpoints'][string];

/**
 * Checks the text of a migration file.
 *
 * @throws {MigrationError} `invalid_file` that lists every problem with its path.
 */
export function parseMigrationFile(text: string): MigrationFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new MigrationError('invalid_file', `${MIGRATION_FILE} is not JSON: ${messageOf(cause)}`, { cause });
  }
  const result = migrationFile.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(
    (issue) => `  ${issue.path.map(String).join('.') || '(top)'}: ${issue.message}`,
  );
  throw new MigrationError('invalid_file', `${MIGRATION_FILE} is not valid:\n${problems.join('\n')}`, {
    cause: result.error,
  });
}

/**
 * Reads the migration file of a workspace.
 *
 * @throws {MigrationError} `missing_file` or `invalid_file`.
 */
export async function readMigrationFile(root: string): Promise<MigrationFile> {
  return parseMigrationFile(await readText(root));
}

/** Text of the file. */
async function readText(root: string): Promise<string> {
  try {
    return await readFile(path.join(root, MIGRATION_FILE), 'utf8');
  } catch (cause) {
    throw new MigrationError('missing_file', `There is no ${MIGRATION_FILE} in ${root}.`, {
      cause,
      hint: 'The import writes one; docs/migration-import.md shows how.',
    });
  }
}

/**
 * What the file says of an endpoint.
 *
 * @throws {MigrationError} `unknown_endpoint`.
 */
export function migrationOf(file: MigrationFile, endpoint: string): EndpointMigration {
  const found = Object.hasOwn(file.endpoints, endpoint) ? file.endpoints[endpoint] : undefined;
  if (found !== undefined) return found;
  const known = Object.keys(file.endpoints).join(', ') || 'none';
  throw new MigrationError(
    'unknown_endpoint',
    `${MIGRATION_FILE} has no endpoint ${endpoint}, only ${known}.`,
    {
      endpoint,
    },
  );
}

/** Backends of the two sides of an endpoint. */
export function backendsOf(
  { backends }: Pick<EndpointMigration, 'backends'>,
  endpoint: string,
): { readonly old: string; readonly new: string } {
  return backends ?? { old: `runpod:${endpoint}`, new: `modal:${endpoint}` };
}

/** The JSON Schema of the file, as editors use it. */
export function migrationJsonSchema(): Record<string, unknown> {
  return {
    ...z.toJSONSchema(migrationFile, { io: 'input', target: 'draft-2020-12', unrepresentable: 'any' }),
    title: MIGRATION_FILE,
    description:
      'What the migration of each endpoint may do: highest stage permitted, thresholds, shadow jobs.',
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
