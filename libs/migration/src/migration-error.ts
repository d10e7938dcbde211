/** Stable codes of {@link MigrationError}. */
export const MIGRATION_ERROR_CODES = [
  'invalid_file',
  'missing_file',
  'unknown_endpoint',
  'invalid_state',
  'invalid_export',
  'nothing_to_roll_back',
  'old_side_unreadable',
  'old_side_gone',
] as const;

/** One of {@link MIGRATION_ERROR_CODES}. */
export type MigrationErrorCode = (typeof MIGRATION_ERROR_CODES)[number];

const MARKER = Symbol.for('ryla.migration.error');

/** What this library rejects with, besides errors of the job store and of RunPod's management API. */
export class MigrationError extends Error {
  readonly [MARKER] = true;
  readonly code: MigrationErrorCode;
  /** Name of the endpoint. */
  readonly endpoint: string | undefined;
  /** What to do next. */
  readonly hint: string | undefined;

  constructor(
    code: MigrationErrorCode,
    message: string,
    context: {
      readonly endpoint?: string | undefined;
      readonly hint?: string | undefined;
      readonly cause?: unknown;
    } = {},
  ) {
    super(
      context.hint === undefined ? message : `${message} ${context.hint}`,
      context.cause === undefined ? undefined : { cause: context.cause },
    );
    this.name = 'MigrationError';
    this.code = code;
    this.endpoint = context.endpoint;
    this.hint = context.hint;
  }

  /** Recognises the error across copies of this package. */
  static isInstance(value: unknown): value is MigrationError {
    return value instanceof Error && MARKER in value;
  }
}
