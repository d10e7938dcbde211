import type { Tree } from '@nx/devkit';

import { resolveFromSource } from '../from-source.ts';

/** What Nx calls. */
export default async function generator(tree: Tree) {
  resolveFromSource();
  const { syncEndpoints } = await import('./sync-endpoints.ts');
  return syncEndpoints(tree);
}
