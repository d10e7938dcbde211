import type { Tree } from '@nx/devkit';

import { resolveFromSource } from '../from-source.ts';
import type { ImportRunpodOptions } from './options.ts';

/** What Nx calls. */
export default async function generator(tree: Tree, options: ImportRunpodOptions): Promise<void> {
  resolveFromSource();
  const { importRunpod } = await import('./import-runpod.ts');
  await importRunpod(tree, options);
}
