import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';

import { ComfyUIServiceError } from '@ryla/business';
import {
  type ConfiguredService,
  createServiceFromConfig,
  endpointsFolder,
  type ResolvedConfig,
  type RylaConfig,
  type Target,
} from '@ryla/business/config';
import type { EndpointDefinition } from '@ryla/workflow';
import { listEndpoints, loadEndpoint } from '@ryla/workflow/node';

const CONFIG = 'ryla.config.ts';

/** The workspace that a command acts in. */
export interface Workspace extends ResolvedConfig {
  /** The configuration's file; undefined where there is none and the defaults apply. */
  readonly file: string | undefined;
  endpointNames(): string[];
  /** An endpoint by its name. Throws `unknown_endpoint`'s like, with the names that there are. */
  endpoint(name: string): EndpointDefinition;
  /** The service over all endpoints. */
  open(): Promise<ConfiguredService>;
}

/** Finds the workspace upwards from a folder, and reads its configuration. */
export async function findWorkspace(target: Target, from: string = process.cwd()): Promise<Workspace> {
  const root = rootOf(from);
  const file = path.join(root, CONFIG);
  const config = existsSync(file) ? await readConfig(file) : {};
  const resolved = { root, target, config, env: process.env };
  const folder = endpointsFolder(resolved);
  const workspace: Workspace = {
    ...resolved,
    file: existsSync(file) ? file : undefined,
    endpointNames: () => (existsSync(folder) ? listEndpoints(folder) : []),
    endpoint(name) {
      const names = workspace.endpointNames();
      if (names.includes(name)) return loadEndpoint(path.join(folder, name));
      throw new ComfyUIServiceError(
        'invalid_input',
        `There is no endpoint "${name}". There are: ${names.join(', ') || 'none'}.`,
      );
    },
    open: () =>
      createServiceFromConfig(
        resolved,
        workspace.endpointNames().map((name) => workspace.endpoint(name).config),
      ),
  };
  return workspace;
}

function rootOf(from: string): string {
  for (let folder = path.resolve(from); ; folder = path.dirname(folder)) {
    if (existsSync(path.join(folder, CONFIG)) || existsSync(path.join(folder, 'nx.json'))) return folder;
    if (path.dirname(folder) === folder) {
      throw new ComfyUIServiceError(
        'invalid_configuration',
        `Neither ${CONFIG} nor nx.json is in this folder or above it.`,
        { hint: 'Run ryla inside the workspace.' },
      );
    }
  }
}

async function readConfig(file: string): Promise<RylaConfig> {
  let loaded: unknown;
  try {
    loaded = await import(pathToFileURL(file).href);
  } catch (cause) {
    throw new ComfyUIServiceError('invalid_configuration', `${file} cannot be loaded: ${String(cause)}`, {
      cause,
    });
  }
  const config =
    typeof loaded === 'object' && loaded !== null && 'default' in loaded ? loaded.default : undefined;
  if (typeof config === 'object' && config !== null) return config;
  throw new ComfyUIServiceError(
    'invalid_configuration',
    `${file} must export its configuration: export default defineConfig({ … })`,
  );
}
