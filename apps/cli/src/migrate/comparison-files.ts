/** Comparisons that were made, newest first. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import { type Comparison, MigrationError, parseComparison } from '@ryla/migration';

import type { Output } from '../output.ts';
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
 * The newest comparison of each endpoint, of these files or of those that were kept. Of the kept ones, those of another release are
 * left out, and said so.
 *
 * @throws {MigrationError} for a named file that holds none.
 */
export async function newestComparisons(
  workspace: Workspace,
  files: readonly string[],
  output: Pick<Output, 'note'>,
): Promise<readonly Comparison[]> {
  const read =
    files.length > 0 ? await Promise.all(files.map(readComparison)) : await readKept(workspace, output);
  const newest = new Map<string, Comparison>();
  for (const comparison of read.sort((a, b) => a.createdAt.localeCompare(b.createdAt)))
    newest.set(comparison.endpoint, comparison);
  return [...newest.values()].sort((a, b) => a.endpoint.localeCompare(b.endpoint));
}

async function readComparison(file: string): Promise<Comparison> {
  try {
    return parseComparison(await readFile(file, 'utf8'), path.basename(file));
  } catch (cause) {
    if (MigrationError.isInstance(cause)) throw cause;
    throw new MigrationError('invalid_export', `${file} cannot be read as a comparison.`, { cause });
  }
}

async function readKept(workspace: Workspace, output: Pick<Output, 'note'>): Promise<Comparison[]> {
  const read: Comparison[] = [];
  for (const file of await keptFiles(workspace)) {
    try {
      read.push(await readComparison(file));
    } catch (error) {
      if (!MigrationError.isInstance(error)) throw error;
      output.note(`${path.basename(file)} is left out. ${error.message}`);
    }
  }
  return read;
}

async function keptFiles(workspace: Workspace): Promise<readonly string[]> {
  const folder = comparisonsFolder(workspace);
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.endsWith('.json')).map((name) => path.join(folder, name));
}

function comparisonsFolder(workspace: Workspace): string {
  return path.join(keptFolder(workspace), 'comparisons');
}
