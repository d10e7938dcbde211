/** What is kept of an endpoint on RunPod: its configuration before it was switched off, and every deletion. */
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';

import {
  type DeletionNote,
  type KeptRecord,
  keptRecord,
  MigrationError,
  type OldSideRecord,
} from '@ryla/migration';

import { freeName } from '../free-name.ts';

/** A record and its file. */
export interface StoredRecord {
  readonly file: string;
  readonly content: KeptRecord;
}

/**
 * The newest record of an endpoint on RunPod in a folder; undefined where there is none.
 *
 * @throws {MigrationError} `invalid_state` for a record that cannot be read: nothing is deleted past it.
 */
export async function newestRecord(
  folder: string,
  endpoint: string,
  runpodId: string,
): Promise<StoredRecord | undefined> {
  const names = await readdir(folder).catch(() => []);
  const own = names.filter((name) => name.startsWith(`runpod-${endpoint}`) && name.endsWith('.json'));
  const records = await Promise.all(own.map((name) => read(path.join(folder, name))));
  return records
    .filter(({ content }) => content.endpoint === endpoint && content.runpod.id === runpodId)
    .sort((a, b) => a.content.recordedAt.localeCompare(b.content.recordedAt))
    .at(-1);
}

/** Writes a new record beside those that there are. */
export async function writeRecord(folder: string, record: OldSideRecord): Promise<StoredRecord> {
  await mkdir(folder, { recursive: true });
  const file = freeName(folder, `runpod-${record.endpoint}.json`);
  await writeFile(file, textOf(record), { flag: 'wx' });
  return await read(file);
}

/** Notes a deletion, or what came of it, in the record; all of the file is there at every moment. */
export async function noteDeletion({ file }: StoredRecord, note: DeletionNote): Promise<void> {
  const { content } = await read(file);
  const others = content.deletions.filter(({ id, sentAt }) => id !== note.id || sentAt !== note.sentAt);
  const next = `${file}.new`;
  await writeFile(next, textOf({ ...content, deletions: [...others, note] }));
  await rename(next, file);
}

async function read(file: string): Promise<StoredRecord> {
  try {
    return { file, content: keptRecord.parse(JSON.parse(await readFile(file, 'utf8'))) };
  } catch (cause) {
    throw new MigrationError('invalid_state', `${file} is no record of an endpoint on RunPod.`, {
      hint: 'Move it away, or mend it: it says what was deleted.',
      cause,
    });
  }
}

function textOf(record: object): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}
