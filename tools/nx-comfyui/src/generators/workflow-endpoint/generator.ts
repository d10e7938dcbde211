import type { Tree } from '@nx/devkit';

import { resolveFromSource } from '../from-source.ts';
import type { WorkflowEndpointOptions } from './options.ts';

/** What Nx calls. */
export default async function generator(tree: Tree, options: WorkflowEndpointOptions): Promise<void> {
  resolveFromSource();
  const { workflowEndpoint } = await import('./workflow-endpoint.ts');
  await workflowEndpoint(tree, options);
}
