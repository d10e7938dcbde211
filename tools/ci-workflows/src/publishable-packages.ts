import { readFileSync } from 'node:fs';
import path from 'node:path';

import { z } from 'zod';

const workspace = z.object({ workspaces: z.array(z.string()) });

const manifest = z.looseObject({
  name: z.string(),
  version: z.string(),
  private: z.boolean().optional(),
  exports: z.record(z.string(), z.unknown()).optional(),
});

/** A package that is published to npm: one of the workspace's that is not private. */
export interface PublishablePackage {
  readonly name: string;
  readonly version: string;
  /** Folder from the root of the workspace. */
  readonly folder: string;
  /** What can be imported, such as `@ryla/business/config`; JSON left out. */
  readonly entries: readonly string[];
}

/** Packages of a workspace that are published. */
export function publishablePackages(root: string): PublishablePackage[] {
  const { workspaces } = workspace.parse(readJson(path.join(root, 'package.json')));
  return workspaces.flatMap((folder) => {
    const {
      name,
      version,
      private: isPrivate,
      exports = {},
    } = manifest.parse(readJson(path.join(root, folder, 'package.json')));
    if (isPrivate === true) return [];
    const entries = Object.keys(exports)
      .filter((entry) => !entry.endsWith('.json'))
      .map((entry) => path.posix.join(name, entry));
    return [{ name, version, folder, entries }];
  });
}

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(file, 'utf8'));
}
