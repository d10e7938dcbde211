/** The step "Base" of a deploy workflow: the commit that is compared with. Never a guess. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';

import { runStep, setOutput } from './step-output.ts';

/** Commits that may be the base. Empty: there is none of its kind. */
export interface BaseCandidates {
  /** Given by hand; a commit or `none`. */
  readonly given: string;
  /** Last successful deploy after a push to main. */
  readonly pushed: string;
  /** Last successful deploy that was started by hand. */
  readonly dispatched: string;
}

/**
 * The base of a deploy: what was given, else the later one of the two last successful deploys.
 *
 * @param isAncestor whether the first commit is the second or before it.
 * @throws {Error} that says what to do, where there is none.
 */
export function deploymentBase(
  { given, pushed, dispatched }: BaseCandidates,
  isAncestor: (earlier: string, later: string) => boolean,
): string {
  if (given !== '') return given;
  if (pushed === '' && dispatched === '') {
    throw new Error(
      'There is no successful deploy among the last 100 commits of main, so what changed since is not known. Run this workflow ' +
        'by hand (Actions, Run workflow) with the base "none", which compares every endpoint with what is live, or with the ' +
        'commit that is live.',
    );
  }
  if (pushed === '' || dispatched === '') return pushed + dispatched;
  return isAncestor(pushed, dispatched) ? dispatched : pushed;
}

function isAncestor(earlier: string, later: string): boolean {
  try {
    execFileSync('git', ['merge-base', '--is-ancestor', earlier, later], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

if (process.argv[1] === path.resolve(import.meta.filename)) {
  await runStep(() => {
    const { GIVEN: given = '', PUSHED: pushed = '', DISPATCHED: dispatched = '' } = process.env;
    const base = deploymentBase({ given: given.trim(), pushed, dispatched }, isAncestor);
    console.log(`Compared with ${base}.`);
    setOutput('base', base);
  });
}
