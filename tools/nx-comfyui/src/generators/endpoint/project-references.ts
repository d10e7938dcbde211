import { readJson, type Tree, updateJson } from '@nx/devkit';

import { ENDPOINTS, endpointRoot } from './endpoint-folder.ts';

const FILE = 'tsconfig.json';

interface Solution {
  readonly references?: readonly { readonly path: string }[];
}

/** Makes the references of the root's tsconfig.json those of the endpoints there are; others stay as they are. */
export function updateProjectReferences(tree: Tree, endpoints: readonly string[]): void {
  if (!tree.exists(FILE)) return;
  const wanted = new Set(endpoints.map((name) => `./${endpointRoot(name)}`));
  const before = readJson<Solution>(tree, FILE).references ?? [];
  const isEndpoint = (path: string) => path.startsWith(`./${ENDPOINTS}/`);
  const kept = before.filter(({ path }) => !isEndpoint(path) || wanted.has(path));
  const known = new Set(kept.map(({ path }) => path));
  const references = [...kept, ...[...wanted].filter((path) => !known.has(path)).map((path) => ({ path }))];
  if (JSON.stringify(references) === JSON.stringify(before)) return;
  updateJson<Solution>(tree, FILE, (solution) => ({ ...solution, references }));
}
