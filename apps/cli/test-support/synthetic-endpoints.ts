import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';

import type { WorkspaceClone } from './workspace-clone.ts';

const FOLDER = 'apps/endpoints';

/** Adds endpoints like photo-finish to a clone until it has so many, and commits them. Returns their names. */
export async function addSyntheticEndpoints(clone: WorkspaceClone, count: number): Promise<string[]> {
  const source = path.join(clone.root, FOLDER, 'photo-finish');
  const [endpoint, workflow] = await Promise.all(
    ['endpoint.json', 'workflow.json'].map((file) => readFile(path.join(source, file), 'utf8')),
  );
  const config = JSON.parse(endpoint ?? '') as { name: string; inputs: { image: { default?: string } } };
  // Without a picture of its own, so that a thousand of them are small.
  delete config.inputs.image.default;
  const names = Array.from({ length: count }, (_, index) => `synthetic-${String(index + 1)}`);
  for (const name of names) {
    const folder = path.join(clone.root, FOLDER, name);
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, 'endpoint.json'), JSON.stringify({ ...config, name }, undefined, 2));
    await writeFile(path.join(folder, 'workflow.json'), workflow ?? '');
  }
  await clone.commit(`${String(count)} endpoints`);
  return names;
}
