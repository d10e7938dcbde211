import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';

import { ComfyUIServiceError } from '@ryla/business';
import {
  BACKENDS,
  backendName,
  checkConfig,
  type ConfiguredService,
  createServiceFromConfig,
  endpointsFolder,
  migrationPath,
  type ResolvedConfig,
  type RylaConfig,
  type Target,
} from '@ryla/business/config';
import { type EndpointConfig, type EndpointDefinition, WorkflowError } from '@ryla/workflow';
import { listEndpoints, loadEndpoint } from '@ryla/workflow/node';

import { endpointsFor } from './deployment/candidates.ts';
import { UsageError } from './exit-codes.ts';
import { CONFIG_FILE, workspaceRootAbove } from './workspace-root.ts';
import { keepingStdout } from './reserved-stdout.ts';

/** The workspace that a command acts in. */
export interface Workspace extends ResolvedConfig {
  /** The configuration's file; undefined where there is none and the defaults apply. */
  readonly file: string | undefined;
  endpointNames(): string[];
  /** An endpoint by its name. Throws a usage error with the names that there are. */
  endpoint(name: string): EndpointDefinition;
  /** The service over all endpoints. */
  open(options?: OpenOptions): Promise<ConfiguredService>;
}

/** How a service is opened. */
export interface OpenOptions {
  /** Whether the migration's sampled share of its jobs also runs on the other side. */
  readonly shadows?: boolean;
  /** Hears of what went wrong beside the jobs, in a service with a migration. */
  readonly onProblem?: (error: unknown) => void;
}

/** Finds the workspace upwards from a folder, and reads its configuration. */
export async function findWorkspace(target: Target, from: string = process.cwd()): Promise<Workspace> {
  const root = rootOf(from);
  const file = path.join(root, CONFIG_FILE);
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
      throw new UsageError(`There is no endpoint "${name}". There are: ${names.join(', ') || 'none'}.`);
    },
    async open(options = {}) {
      const sound: EndpointConfig[] = [];
      const broken = new Map<string, ComfyUIServiceError>();
      for (const name of workspace.endpointNames()) {
        try {
          sound.push(workspace.endpoint(name).config);
        } catch (cause) {
          // One endpoint that is broken must not keep the others' jobs from being looked after.
          if (!WorkflowError.isInstance(cause)) throw cause;
          const error = new ComfyUIServiceError('invalid_configuration', cause.message, {
            endpoint: name,
            hint: `npx nx validate ${name}`,
            cause,
          });
          for (const provider of BACKENDS) broken.set(backendName(provider, name), error);
        }
      }
      const names = sound.map(({ name }) => name);
      const given = { ...resolved, config: onlyFor(config, names) };
      const onRunPod = endpointsFor({ root, folder, provider: 'runpod' });
      const { withRunPodEndpoints } = await import('./deployment/runpod-endpoint-ids.ts');
      const { endpoints, unusable } = await withRunPodEndpoints(given, sound, onRunPod);
      const opened = await openService(given, endpoints, workspace, options);
      return { ...opened, unusable: new Map([...opened.unusable, ...unusable, ...broken]) };
    },
  };
  checkConfig(config, workspace.endpointNames());
  return workspace;
}

/** The service; where there is a migration, its stages decide where the jobs of its endpoints go. */
async function openService(
  given: ResolvedConfig,
  endpoints: readonly EndpointConfig[],
  workspace: Workspace,
  { shadows = false, onProblem }: OpenOptions,
): Promise<ConfiguredService> {
  if (migrationPath(given) === undefined) return createServiceFromConfig(given, endpoints);
  const { openStagedService } = await import('./migrate/staged-service.ts');
  return openStagedService(given, endpoints, { shadowsOf: shadows ? workspace : undefined, onProblem });
}

/** The configuration without what it says about endpoints that are not among these. */
function onlyFor(config: RylaConfig, endpoints: readonly string[]): RylaConfig {
  const kept = <T>(record: Readonly<Record<string, T>>): Record<string, T> =>
    Object.fromEntries(Object.entries(record).filter(([name]) => endpoints.includes(name)));
  return {
    ...config,
    ...(config.routes === undefined ? {} : { routes: kept(config.routes) }),
    ...(config.usdPerDay === undefined ? {} : { usdPerDay: kept(config.usdPerDay) }),
    ...(config.runcomfy === undefined ? {} : { runcomfy: kept(config.runcomfy) }),
  };
}

function rootOf(from: string): string {
  const root = workspaceRootAbove(from);
  if (root !== undefined) return root;
  throw new ComfyUIServiceError(
    'invalid_configuration',
    `Neither ${CONFIG_FILE} nor nx.json is in this folder or above it.`,
    { hint: 'Run ryla inside the workspace.' },
  );
}

async function readConfig(file: string): Promise<RylaConfig> {
  let loaded: unknown;
  try {
    loaded = await keepingStdout(() => import(pathToFileURL(file).href));
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
