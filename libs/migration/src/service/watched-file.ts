import { readFileSync, statSync } from 'node:fs';

import { type MigrationFile, parseMigrationFile } from '../file/migration-file.ts';

/**
 * Reads the migration file, and again whenever it was changed. What cannot be read later leaves what was read before.
 *
 * @throws {MigrationError} `invalid_file` when it is not valid at first.
 */
export function watchedFile(path: string, onProblem: (error: unknown) => void): () => MigrationFile {
  let changedAt = statSync(path).mtimeMs;
  let file = parseMigrationFile(readFileSync(path, 'utf8'));
  return () => {
    try {
      const now = statSync(path).mtimeMs;
      if (now === changedAt) return file;
      changedAt = now;
      file = parseMigrationFile(readFileSync(path, 'utf8'));
    } catch (error) {
      onProblem(error);
    }
    return file;
  };
}
