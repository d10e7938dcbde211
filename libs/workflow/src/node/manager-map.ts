import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

import { type NodeMap, parseNodeMap } from '../inventory/node-map.ts';
import { WorkflowError } from '../workflow-error.ts';

const MAP_FILE = 'extension-node-map.json';

/** Where {@link loadNodeMap} may look. */
export interface NodeMapOptions {
  /** The map itself, or a folder that has it. */
  readonly file?: string;
  /** A ComfyUI folder, whose ComfyUI-Manager has a map. */
  readonly comfyui?: string;
  /** Folder from which upwards a `.venv` with the PyPI package comfyui-manager is looked for; the current one. */
  readonly from?: string;
}

/** A map, and the file it is from. */
export interface LoadedNodeMap {
  readonly map: NodeMap;
  readonly file: string;
}

/**
 * ComfyUI-Manager's map from node classes to repositories: of the given file, else of the given ComfyUI's own manager,
 * else of the package comfyui-manager in a `.venv` here or further up. `undefined` where there is none. The map is not
 * part of this package: comfyui-manager is under the GPL, and newer maps know more.
 *
 * @throws {WorkflowError} `invalid_node_map` where a file that was found or named is no such map.
 */
export function loadNodeMap(options: NodeMapOptions = {}): LoadedNodeMap | undefined {
  const file = findMap(options);
  if (file === undefined) return undefined;
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new WorkflowError('invalid_node_map', `${file} cannot be read as JSON.`, { cause });
  }
  return { map: parseNodeMap(content), file };
}

function findMap({ file, comfyui, from }: NodeMapOptions): string | undefined {
  if (file !== undefined) return existsSync(path.join(file, MAP_FILE)) ? path.join(file, MAP_FILE) : file;
  if (comfyui !== undefined) {
    const found = managerFolders(comfyui)
      .map((folder) => path.join(folder, MAP_FILE))
      .find(existsSync);
    if (found !== undefined) return found;
  }
  for (let folder = path.resolve(from ?? '.'); ; folder = path.dirname(folder)) {
    const found = packageFolders(path.join(folder, '.venv'))
      .map((one) => path.join(one, MAP_FILE))
      .find(existsSync);
    if (found !== undefined) return found;
    if (path.dirname(folder) === folder) return undefined;
  }
}

function managerFolders(comfyui: string): string[] {
  const custom = path.join(comfyui, 'custom_nodes');
  const named = foldersIn(custom).filter((name) => /^comfyui-?manager$/i.test(name));
  return [
    ...named.map((name) => path.join(custom, name)),
    ...['.venv', 'venv'].flatMap((name) => packageFolders(path.join(comfyui, name))),
  ];
}

/** Where Python keeps the package in an environment: `lib/python3.x/site-packages`, on Windows `Lib/site-packages`. */
function packageFolders(environment: string): string[] {
  const sites = [
    ...foldersIn(path.join(environment, 'lib')).map((name) =>
      path.join(environment, 'lib', name, 'site-packages'),
    ),
    path.join(environment, 'Lib', 'site-packages'),
  ];
  return sites.map((site) => path.join(site, 'comfyui_manager'));
}

function foldersIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
    .map(({ name }) => name)
    .sort();
}
