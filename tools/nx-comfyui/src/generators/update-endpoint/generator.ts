import type { Tree } from '@nx/devkit';

import { resolveFromSource } from '../from-source.ts';
import type { UpdateEndpointOptions } from './options.ts';

/** What Nx calls. */
export default async function generator(tree: Tree, options: UpdateEndpointOptions): Promise<void> {
  resolveFromSource();
  const { updateEndpoint } = await import('./update-endpoint.ts');
  await updateEndpoint(tree, options);
}
