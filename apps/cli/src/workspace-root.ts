import { existsSync } from 'node:fs';
import path from 'node:path';

/** Name of a workspace's configuration. */
export const CONFIG_FILE = 'ryla.config.ts';

/** The workspace that a folder is in; undefined where it is in none. */
export function workspaceRootAbove(from: string): string | undefined {
  for (let folder = path.resolve(from); ; folder = path.dirname(folder)) {
    if (existsSync(path.join(folder, CONFIG_FILE)) || existsSync(path.join(folder, 'nx.json'))) return folder;
    if (path.dirname(folder) === folder) return undefined;
  }
}
