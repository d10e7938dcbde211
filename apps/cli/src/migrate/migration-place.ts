/** Where a command of `ryla migrate` acts: a workspace, its migration file, its job store. */
import { type FileHandle, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as delay } from 'node:timers/promises';

import type { JobStore } from '@ryla/business';
import { describeTarget, MIGRATION_FILE, migrationPath, openStore, stateFolder } from '@ryla/business/config';
import {
  createMigration,
  type FileChange,
  type Migration,
  MigrationError,
  stageChange,
} from '@ryla/migration';

import type { CommonOptions } from '../commands/common-options.ts';
import { EXIT, UsageError } from '../exit-codes.ts';
import { createOutput, type Output } from '../output.ts';
import { findWorkspace, type Workspace } from '../workspace.ts';

/** Options that every command has. */
export type MigrateOptions = CommonOptions;

/** Exit code of a refusal: a gate misses, the file permits no more, there is traffic. */
export const REFUSED = 3;

/** A workspace whose migration file exists. */
export interface MigrationPlace {
  readonly workspace: Workspace;
  readonly output: Output;
  /** The migration file. */
  readonly file: string;
  readonly store: JobStore;
  readonly migration: Migration;
}

/** Runs a command's body in the workspace; says on stderr where it acts. */
export async function inTarget(
  { target, json }: MigrateOptions,
  body: (workspace: Workspace, output: Output) => Promise<void>,
): Promise<void> {
  const output = createOutput(json === true);
  const workspace = await findWorkspace(target);
  output.note(`Target: ${describeTarget(workspace)}`);
  try {
    await body(workspace, output);
  } catch (error) {
    if (MigrationError.isInstance(error) && error.code === 'unknown_endpoint')
      throw new UsageError(error.message, error.code, { cause: error });
    throw error;
  }
}

/** The same with the migration file and the job store, which is closed afterwards. */
export async function inMigration(
  options: MigrateOptions,
  body: (place: MigrationPlace) => Promise<void>,
): Promise<void> {
  await inTarget(options, async (workspace, output) => {
    const file = migrationFileOf(workspace);
    await using store = await openStore(workspace);
    const migration = createMigration({ store, fileText: () => readFile(file, 'utf8') });
    await body({ workspace, output, file, store, migration });
  });
}

/**
 * The migration file of a workspace.
 *
 * @throws {MigrationError} `missing_file`.
 */
export function migrationFileOf(workspace: Workspace): string {
  const file = migrationPath(workspace);
  if (file !== undefined) return file;
  throw new MigrationError('missing_file', `There is no ${MIGRATION_FILE} in ${workspace.root}.`, {
    hint: '`ryla migrate import` writes one.',
  });
}

/** Folder of what the commands keep: comparisons, checks of volumes. */
export function keptFolder(workspace: Workspace): string {
  return path.join(stateFolder(workspace), 'migration');
}

/** Milliseconds that another command may take to change the file. */
const CHANGE_MS = 5_000;

/**
 * Makes a proposed change of the migration file, all of it or nothing, to the file as it is then: of two commands at once neither
 * loses what the other changed.
 *
 * @throws {MigrationError} `invalid_file` where somebody else does not come to an end with it.
 */
export async function writeChange(
  file: string,
  { endpoint, to }: Pick<FileChange, 'endpoint' | 'to'>,
  patienceMs = CHANGE_MS,
): Promise<void> {
  const next = `${file}.new`;
  // Whoever makes it has the file to himself until it takes the other's place.
  const handle = await openAlone(next, patienceMs);
  try {
    const text = await readFile(file, 'utf8');
    await handle.writeFile(stageChange(text, endpoint, to)?.text ?? text);
    await handle.close();
    await rename(next, file);
  } catch (error) {
    await handle.close();
    await rm(next, { force: true });
    throw error;
  }
}

async function openAlone(file: string, patienceMs: number): Promise<FileHandle> {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    try {
      return await open(file, 'wx');
    } catch (error) {
      const isThere = error instanceof Error && 'code' in error && error.code === 'EEXIST';
      if (!isThere) throw error;
      if (Date.now() > deadline)
        throw new MigrationError('invalid_file', `${file} is there: another command is changing the file.`, {
          hint: 'Remove it where no other command runs any more.',
          cause: error,
        });
      await delay(20);
    }
  }
}

/** A signal that Ctrl-C aborts, until it is disposed of. */
export interface Interruptible extends Disposable {
  readonly signal: AbortSignal;
}

/** Aborts at the first Ctrl-C, and says so; a second one ends at once. */
export function abortOnInterrupt(output: Output, text: string): Interruptible {
  const stop = new AbortController();
  const interrupt = (): void => {
    if (stop.signal.aborted) process.exit(EXIT.interrupted);
    output.note(text);
    stop.abort();
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const name of signals) process.on(name, interrupt);
  return {
    signal: stop.signal,
    [Symbol.dispose]() {
      for (const name of signals) process.off(name, interrupt);
    },
  };
}
