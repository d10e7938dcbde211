/** Which commits a deploy lies between. Never guessed: what is unknown is an error. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

import { UsageError } from '../exit-codes.ts';

const exec = promisify(execFile);

/** A deploy's commits. `base` null: the first deploy ever, so that everything is new. */
export interface GitRange {
  readonly base: string | null;
  readonly head: string;
  /** Whether `head` was named; otherwise changes that are in no commit count too. */
  readonly headIsNamed: boolean;
}

/** Value of `--base` for a deploy before which there was none. */
export const NO_BASE = 'none';

/** Runs git in a folder and returns what it prints; rejects where it fails. */
export async function git(root: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await exec('git', [...args], { cwd: root, maxBuffer: 256 * 1024 * 1024 });
  return stdout.trimEnd();
}

/**
 * The commits between which files changed, from `--base`, `--head` and the variables `NX_BASE` and `NX_HEAD`.
 *
 * @throws {UsageError} `unknown_base` where the base is not given, not there or not before head; `wrong_head` where head is not
 *   what is checked out.
 */
export async function gitRange(
  root: string,
  options: { readonly base?: string | undefined; readonly head?: string | undefined },
  env: Readonly<Record<string, string | undefined>>,
): Promise<GitRange> {
  const current = await commit(root, 'HEAD');
  if (current === undefined) throw unknownBase('this folder is in no git repository with a commit.');
  const head = await checkedHead(root, options.head ?? nonEmpty(env['NX_HEAD']), current);
  const headIsNamed = (options.head ?? nonEmpty(env['NX_HEAD'])) !== undefined;
  const given = options.base ?? nonEmpty(env['NX_BASE']);
  if (given === undefined)
    throw unknownBase(
      'give --base <commit of the last successful deploy>, or set NX_BASE. For the first deploy ever: --base none.',
    );
  if (given === NO_BASE) return { base: null, head, headIsNamed };
  const base = await commit(root, given);
  if (base === undefined) throw unknownBase(await whyMissing(root, given));
  if (!(await isAncestor(root, base, head))) throw unknownBase(await whyNoAncestor(root, given, base));
  return { base, head, headIsNamed };
}

/** Names of the endpoints in a commit: the folders with an endpoint.json below the folder of the endpoints. */
export async function endpointsAt(root: string, ref: string, folder: string): Promise<string[]> {
  const text = await git(root, 'ls-tree', '-r', '--name-only', '-z', ref, '--', `${folder}/`);
  const pattern = /^([^/]+)\/endpoint\.json$/;
  return text.split('\0').flatMap((file) => pattern.exec(file.slice(folder.length + 1))?.[1] ?? []);
}

/** Files that differ between two commits, a rename as a deletion and an addition. */
export async function changedFiles(root: string, base: string, head?: string): Promise<string[]> {
  const range = head === undefined ? [base] : [base, head];
  const text = await git(root, 'diff', '--name-only', '--no-renames', '-z', ...range);
  return text.split('\0').filter((file) => file !== '');
}

/** A commit's whole hash; undefined where it is not in this clone. */
export async function commit(root: string, ref: string): Promise<string | undefined> {
  if (ref.startsWith('-')) return undefined;
  return git(root, 'rev-parse', '--verify', '--quiet', `${ref}^{commit}`).catch(() => undefined);
}

async function checkedHead(root: string, given: string | undefined, current: string): Promise<string> {
  if (given === undefined) return current;
  const head = await commit(root, given);
  if (head === current) return head;
  throw new UsageError(
    `--head ${given} is not what is checked out (${current.slice(0, 7)}). What is deployed is built from the files here: ` +
      `check it out first (git switch --detach ${given}).`,
    'wrong_head',
  );
}

async function isAncestor(root: string, base: string, head: string): Promise<boolean> {
  return git(root, 'merge-base', '--is-ancestor', base, head).then(
    () => true,
    () => false,
  );
}

async function isShallow(root: string): Promise<boolean> {
  return (await git(root, 'rev-parse', '--is-shallow-repository')) === 'true';
}

async function whyMissing(root: string, given: string): Promise<string> {
  return (await isShallow(root))
    ? `${given} is not in this shallow clone. Run \`git fetch --unshallow\`, or check out with fetch-depth: 0.`
    : `there is no commit ${given}. If history was rewritten (a force-push), use --base none: every endpoint is then ` +
        'compared with what is live, and only what differs is deployed.';
}

async function whyNoAncestor(root: string, given: string, base: string): Promise<string> {
  return (await isShallow(root))
    ? `whether ${given} (${base.slice(0, 7)}) is before head cannot be told in this shallow clone. Run \`git fetch --unshallow\`.`
    : `${given} (${base.slice(0, 7)}) is not before head: history was rewritten (a force-push), or the base is of another ` +
        'branch. Use --base none: every endpoint is then compared with what is live, and only what differs is deployed. ' +
        '(In a clone without whole history: `git fetch --unshallow`.)';
}

function unknownBase(why: string): UsageError {
  return new UsageError(`the base is not known: ${why}`, 'unknown_base');
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
