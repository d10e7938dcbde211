import type { Stage } from '../stages/stage.ts';
import { MIGRATION_FILE, migrationOf, parseMigrationFile } from './migration-file.ts';

/** A change of ryla.migration.json that somebody is to make by pull request. */
export interface FileChange {
  /** From the root of the workspace. */
  readonly path: string;
  readonly endpoint: string;
  readonly from: Stage;
  readonly to: Stage;
  /** The whole text of the file after it. */
  readonly text: string;
  /** Lines that go and come, beginning with `-` and `+`. */
  readonly diff: string;
}

/**
 * The change that permits an endpoint a stage and no more; undefined when the file says so already.
 *
 * @throws {MigrationError} `invalid_file` or `unknown_endpoint`.
 */
export function stageChange(text: string, endpoint: string, to: Stage): FileChange | undefined {
  const { stage: from } = migrationOf(parseMigrationFile(text), endpoint);
  if (from === to) return undefined;
  // What was written is kept as it is, in its order: defaults do not enter the file.
  const written = fieldsOf(JSON.parse(text));
  const endpoints = fieldsOf(written['endpoints']);
  const own = fieldsOf(endpoints[endpoint]);
  const changed = { ...written, endpoints: { ...endpoints, [endpoint]: { ...own, stage: to } } };
  const after = edited(text, from, to, changed) ?? `${JSON.stringify(changed, null, 2)}\n`;
  return { path: MIGRATION_FILE, endpoint, from, to, text: after, diff: lineDiff(text, after) };
}

/** The text with one stage replaced, its form untouched; undefined where the file does not write the stage out. */
function edited(text: string, from: Stage, to: Stage, wanted: object): string | undefined {
  const candidates = [...text.matchAll(new RegExp(`("stage"\\s*:\\s*)"${from}"`, 'g'))].map(
    ({ index, 0: whole, 1: before = '' }) =>
      `${text.slice(0, index)}${before}"${to}"${text.slice(index + whole.length)}`,
  );
  return candidates.find((candidate) => JSON.stringify(JSON.parse(candidate)) === JSON.stringify(wanted));
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}

/** The lines between the first and the last difference. */
function lineDiff(before: string, after: string): string {
  const [old, fresh] = [before.split('\n'), after.split('\n')];
  let start = 0;
  while (start < old.length && old[start] === fresh[start]) start += 1;
  let end = 0;
  const most = Math.min(old.length, fresh.length) - start;
  while (end < most && old.at(-1 - end) === fresh.at(-1 - end)) end += 1;
  return [
    ...old.slice(start, old.length - end).map((line) => `-${line}`),
    ...fresh.slice(start, fresh.length - end).map((line) => `+${line}`),
  ].join('\n');
}
