import type { Tree } from '@nx/devkit';

import { resolveFromSource } from '../from-source.ts';
import type { RemoveEndpointOptions } from './options.ts';

/** What Nx calls. */
export default async function generator(tree: Tree, options: RemoveEndpointOptions): Promise<void> {
  resolveFromSource();
  const { removeEndpoint } = await import('./remove-endpoint.ts');
  await removeEndpoint(tree, options);
}
