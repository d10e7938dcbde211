/** Comparisons that were made, newest first. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { type Comparison, MigrationError, parseComparison } from '@ryla/migration';

import type { Workspace } from '../workspace.ts';
import { keptFolder } from './migration-place.ts';

/** Keeps a comparison for later reports; returns its file. */
export async function keepComparison(workspace: Workspace, comparison: Comparison): Promise<string> {
  const folder = comparisonsFolder(workspace);
  await mkdir(folder, { recursive: true });
  const moment = comparison.createdAt.replaceAll(/[:.]/g, '-');
  const file = path.join(folder, `${comparison.endpoint}-${moment}.json`);
  await writeFile(file, `${JSON.stringify(comparison)}\n`);
  return file;
}

/**
 * The newest comparison of each endpoint, of these files or of those that were kept.
 *
 * @throws {MigrationError} for a file that holds none.
 */
export async function newestComparisons(
  workspace: Workspace,
  files: readonly string[],
): Promise<readonly Comparison[]> {
  const read = await Promise.all((files.length > 0 ? files : await keptFiles(workspace)).map(readComparison));
  const newest = new Map<string, Comparison>();
  for (const comparison of read.sort((a, b) => a.createdAt.localeCompare(b.createdAt)))
    newest.set(comparison.endpoint, comparison);
  return [...newest.values()].sort((a, b) => a.endpoint.localeCompare(b.endpoint));
}

async function readComparison(file: string): Promise<Comparison> {
  try {
    return parseComparison(await readFile(file, 'utf8'));
  } catch (cause) {
    if (MigrationError.isInstance(cause)) throw cause;
    throw new MigrationError('invalid_export', `${file} cannot be read as a comparison.`, { cause });
  }
}

async function keptFiles(workspace: Workspace): Promise<readonly string[]> {
  const folder = comparisonsFolder(workspace);
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.endsWith('.json')).map((name) => path.join(folder, name));
}

function comparisonsFolder(workspace: Workspace): string {
  return path.join(keptFolder(workspace), 'comparisons');
}
