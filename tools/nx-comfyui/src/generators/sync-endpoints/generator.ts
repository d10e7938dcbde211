import { logger, type Tree } from '@nx/devkit';

import { resolveFromSource } from '../from-source.ts';

/** What Nx calls: with options where a person runs it by `nx g`, which takes what it returns for a function to call. */
export default async function generator(tree: Tree, options?: object) {
  resolveFromSource();
  const { syncEndpoints } = await import('./sync-endpoints.ts');
  const found = await syncEndpoints(tree);
  if (options === undefined) return found;
  for (const problem of found.outOfSyncDetails) logger.warn(problem);
  return undefined;
}
