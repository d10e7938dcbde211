import type { Tree } from '@nx/devkit';

import { resolveFromSource } from '../from-source.ts';
import type { CustomNodeOptions } from './options.ts';

/** What Nx calls. */
export default async function generator(tree: Tree, options: CustomNodeOptions): Promise<void> {
  resolveFromSource();
  const { customNode } = await import('./custom-node.ts');
  await customNode(tree, options);
}
