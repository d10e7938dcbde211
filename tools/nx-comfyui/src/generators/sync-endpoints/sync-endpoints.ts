import type { Tree } from '@nx/devkit';

import { writeDerivedFiles } from '../endpoint/derived-files.ts';

/**
 * `nx sync`: keeps what follows from the endpoints' own files true. `nx sync:check` fails where it would change
 * something.
 */
export async function syncEndpoints(tree: Tree) {
  const unreadable = await writeDerivedFiles(tree);
  return {
    outOfSyncMessage:
      'Clients, OpenAPI fragments, READMEs or the table of endpoints are not what endpoint.json says.',
    outOfSyncDetails: unreadable.map(({ name, problem }) => `${name} was left out: ${problem}`),
  };
}
