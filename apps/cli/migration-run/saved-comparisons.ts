/** Judges shadow jobs by the comparisons that `ryla migrate compare` kept. */
import { type CompareResults, judgeResults } from '@ryla/migration';

import { newestComparisons } from '../src/migrate/comparison-files.ts';
import { findWorkspace } from '../src/workspace.ts';

/** Each endpoint by the noise floor of its newest comparison; an endpoint without one has no parity. */
export async function judgedBySavedComparisons(root: string): Promise<CompareResults> {
  const comparisons = await newestComparisons(await findWorkspace('local', root), [], {
    note: (text) => console.error(text),
  });
  const judges = new Map(comparisons.map((comparison) => [comparison.endpoint, judgeResults(comparison)]));
  return async (real, shadow, signal) => {
    const endpoint = real.backend.split(':')[1] ?? '';
    return judges.get(endpoint)?.(real, shadow, signal);
  };
}
