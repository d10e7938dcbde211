import { type CompareResults, judgeResults } from '@ryla/migration';

import type { Workspace } from '../workspace.ts';
import { newestComparisons } from './comparison-files.ts';

/** Judges a pair by the newest comparison of both backends that `ryla migrate compare` kept; undefined where there is none. */
export async function judgeByComparisons(
  workspace: Workspace,
  ...[real, shadow, signal]: Parameters<CompareResults>
): ReturnType<CompareResults> {
  const comparisons = await newestComparisons(workspace, [], { note: () => undefined });
  const pair = [real.backend, shadow.backend];
  const comparison = comparisons.find(
    ({ sides }) => pair.includes(sides.old.backend) && pair.includes(sides.new.backend),
  );
  return comparison === undefined ? undefined : await judgeResults(comparison)(real, shadow, signal);
}
