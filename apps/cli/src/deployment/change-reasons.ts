/** Why fingerprints differ, as far as git can tell: the files of the hash that changed. */
import path from 'node:path';

import type { LiveDeployment } from './cloud.ts';
import type { Reason } from './deployment-document.ts';
import { changedFiles, commit } from './git-range.ts';

/** Files that are in every task's hash without being named as its inputs (nx 23.2.1). */
const IN_EVERY_HASH = ['nx.json', '.nxignore', 'tsconfig.base.json'];

/** Finds reasons, asking git once for each commit. */
export interface ReasonFinder {
  /** @param files files that are in the endpoint's hash now. */
  reasons(live: LiveDeployment, fingerprint: string, files: readonly string[]): Promise<readonly Reason[]>;
}

/** @param base commit that is compared with where the live one is not known. */
export function createReasonFinder(root: string, base: string | null): ReasonFinder {
  const diffs = new Map<string, Promise<readonly string[]>>();
  const changedSince = (ref: string): Promise<readonly string[]> => {
    const found = diffs.get(ref) ?? changedFiles(root, ref).catch(() => []);
    diffs.set(ref, found);
    return found;
  };
  return {
    async reasons(live, fingerprint, files) {
      if (live.fingerprint === null)
        return [{ input: 'live deployment', why: 'carries no fingerprint: ryla did not deploy it' }];
      const hashes = `live ${live.fingerprint}, here ${fingerprint}`;
      const since = await knownCommit(root, live.commit, base);
      if (since === undefined)
        return [{ input: 'fingerprint', why: `${hashes}; the commit that is live is not in this clone` }];
      const changed = relevantChanges(await changedSince(since), files);
      return changed.length > 0
        ? changed.map((file) => ({ file, why: `differs from ${since.slice(0, 7)}` }))
        : [
            {
              input: 'fingerprint',
              why: `${hashes}; no file differs from ${since.slice(0, 7)}: ${OTHERWISE}`,
            },
          ];
    },
  };
}

const OTHERWISE =
  'its Nx configuration does, or what is live was deployed with changes that are in no commit';

/** Changed files that are in a hash, or were: one that was deleted from a folder of the hash. */
export function relevantChanges(changed: readonly string[], files: readonly string[]): string[] {
  const known = new Set([...files, ...IN_EVERY_HASH]);
  const code = /\.(py|txt|json)$/;
  const folders = new Set(
    files.filter((file) => /\/src\/|\/requirements\//.test(file)).map((file) => path.posix.dirname(file)),
  );
  return changed.filter(
    (file) => known.has(file) || (folders.has(path.posix.dirname(file)) && code.test(file)),
  );
}

async function knownCommit(
  root: string,
  live: string | null,
  base: string | null,
): Promise<string | undefined> {
  const found = live === null ? undefined : await commit(root, live);
  return found ?? base ?? undefined;
}
