/** `ryla.config.ts`: where an application's jobs may go, and how they are kept. */
import { existsSync } from 'node:fs';
import path from 'node:path';

import type { EndpointConfig } from '@ryla/workflow';
import { z } from 'zod';

import type { Adapter } from './adapter.ts';
import { modal } from './adapters/modal.ts';
import { runpod } from './adapters/runpod.ts';
import { ComfyUIServiceError } from './errors.ts';
import { LOCAL_CLOUDS_FILE, localWebUrl, readLocalClouds } from './local-clouds.ts';
import type { Route, RouteTable } from './policy/routes.ts';
import { directoryArtifacts } from './services/artifacts.ts';
import {
  type ComfyUIService,
  type ComfyUIServiceOptions,
  createComfyUIService,
} from './services/comfyui-service.ts';
import type { JobStore } from './store/job-store.ts';
import { sqliteJobStore } from './store/sqlite-job-store.ts';

/** Clouds that endpoints can be deployed to. */
export const PROVIDERS = ['modal', 'runpod'] as const;

/** One of {@link PROVIDERS}. */
export type Provider = (typeof PROVIDERS)[number];

/** Where a command acts: the clouds on this machine, or real ones. */
export type Target = 'local' | 'cloud';

/** What `ryla.config.ts` may say; everything has a default. */
export interface RylaConfig {
  /** Folder of the endpoints. Default `apps/endpoints`. */
  readonly endpoints?: string;
  /** Folder of job stores and kept outputs. Default `.ryla`; each target has files of its own in it. */
  readonly state?: string;
  /** Whether outputs are kept when a job has ended. Default true. */
  readonly keepOutputs?: boolean;
  /** Shares of an endpoint's new jobs by provider. Endpoints that are absent go to `defaultProvider`. */
  readonly routes?: Readonly<Record<string, Partial<Readonly<Record<Provider, number>>>>>;
  /** Provider of endpoints without a route. Default `modal`. */
  readonly defaultProvider?: Provider;
  /** US dollars a day (UTC) by endpoint. */
  readonly usdPerDay?: Readonly<Record<string, number>>;
  /** Runs that may follow one whose machine died. Default 1. */
  readonly restarts?: number;
  /** Names of environment variables that hold what real clouds need; never the values. */
  readonly cloud?: {
    /** Default `MODAL_WORKSPACE`. */
    readonly modalWorkspace?: string;
    /** Default `MODAL_PROXY_KEY` and `MODAL_PROXY_SECRET`. */
    readonly modalProxyKey?: string;
    readonly modalProxySecret?: string;
    /** Token of endpoints with the auth `bearer`. Default `RYLA_API_TOKEN`. */
    readonly bearerToken?: string;
    /** Default `RUNPOD_API_KEY`. */
    readonly runpodApiKey?: string;
    /** Whether the RunPod endpoints' workers claim jobs (a network volume is mounted). Default false. */
    readonly runpodClaims?: boolean;
  };
}

/** Gives a configuration its type, for editors. */
export function defineConfig(config: RylaConfig): RylaConfig {
  return config;
}

const variable = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'it is the name of an environment variable, never its value')
  .optional();
const share = z.number().nonnegative().optional();

const rylaConfig = z.strictObject({
  endpoints: z.string().min(1).optional(),
  state: z.string().min(1).optional(),
  keepOutputs: z.boolean().optional(),
  routes: z
    .record(
      z.string(),
      z
        .strictObject({ modal: share, runpod: share })
        .refine((shares) => Object.values(shares).some((each) => each !== undefined && each > 0), {
          message: 'at least one provider must have a share above 0',
        }),
    )
    .optional(),
  defaultProvider: z.enum(PROVIDERS).optional(),
  usdPerDay: z.record(z.string(), z.number().nonnegative()).optional(),
  restarts: z.number().int().nonnegative().optional(),
  cloud: z
    .strictObject({
      modalWorkspace: variable,
      modalProxyKey: variable,
      modalProxySecret: variable,
      bearerToken: variable,
      runpodApiKey: variable,
      runpodClaims: z.boolean().optional(),
    })
    .optional(),
});

/**
 * Checks a configuration. A field or an endpoint that does not exist is an error: a limit with a misspelt name would
 * limit nothing.
 *
 * @param endpoints names of the endpoints that there are.
 * @throws {ComfyUIServiceError} `invalid_configuration`, listing every problem with its path.
 */
export function checkConfig(config: RylaConfig, endpoints: readonly string[]): void {
  const checked = rylaConfig.safeParse(config);
  const problems = checked.success
    ? []
    : // Without the value: what stands where a name should may be a key.
      checked.error.issues.map(
        ({ path: place, message }) => `${place.join('.') || 'configuration'}: ${message}`,
      );
  if (checked.success) {
    for (const field of ['routes', 'usdPerDay'] as const) {
      for (const name of Object.keys(config[field] ?? {})) {
        if (!endpoints.includes(name))
          problems.push(
            `${field}.${name}: there is no such endpoint, only ${endpoints.join(', ') || 'none'}`,
          );
      }
    }
  }
  if (problems.length === 0) return;
  throw new ComfyUIServiceError(
    'invalid_configuration',
    `The configuration is wrong:\n  ${problems.join('\n  ')}`,
    { hint: 'docs/cli.md lists what ryla.config.ts may say.' },
  );
}

/** A configuration with its defaults, and where it applies. */
export interface ResolvedConfig {
  readonly root: string;
  readonly target: Target;
  readonly config: RylaConfig;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Default names of the environment variables of real clouds. */
export const CLOUD_VARIABLES = {
  modalWorkspace: 'MODAL_WORKSPACE',
  modalProxyKey: 'MODAL_PROXY_KEY',
  modalProxySecret: 'MODAL_PROXY_SECRET',
  bearerToken: 'RYLA_API_TOKEN',
  runpodApiKey: 'RUNPOD_API_KEY',
} as const;

/** Folder of the endpoints. */
export function endpointsFolder({ root, config }: Pick<ResolvedConfig, 'root' | 'config'>): string {
  return path.resolve(root, config.endpoints ?? 'apps/endpoints');
}

/** Folder of the job store and the kept outputs of a target. */
export function stateFolder({ root, config, target }: ResolvedConfig): string {
  return path.resolve(root, config.state ?? '.ryla', target);
}

/** Name of a deployment as a backend of the service: every endpoint has limits and a breaker of its own. */
export function backendName(provider: Provider, endpoint: string): string {
  return `${provider}:${endpoint}`;
}

/** The gateway's pinned label on Modal: see apps/modal/comfyui_app.py. */
export function gatewayLabel(endpoint: string): string {
  return `ryla-${endpoint}-api`;
}

/** The target in words, for people who must know where they act. */
export function describeTarget(resolved: ResolvedConfig): string {
  const { target, root, env } = resolved;
  if (target === 'cloud') {
    const workspace = env[variableName(resolved, 'modalWorkspace')] ?? '';
    return `cloud (real accounts; jobs cost money; Modal workspace ${workspace || 'not set'})`;
  }
  // What is stored can be read without the clouds; what needs them says that they are not there.
  if (!existsSync(path.join(root, LOCAL_CLOUDS_FILE))) return 'local clouds (not running)';
  const { modal: local, runpod: pod } = readLocalClouds(root);
  return `local clouds (Modal ${local.webUrl}, RunPod ${pod.apiUrl})`;
}

/** Name of the environment variable that holds what a real cloud needs. */
export function variableName(
  { config }: Pick<ResolvedConfig, 'config'>,
  name: keyof typeof CLOUD_VARIABLES,
): string {
  return config.cloud?.[name] ?? CLOUD_VARIABLES[name];
}

/** The store that a configuration describes, alone: reading it needs no cloud and takes over no job. */
export function openStore(resolved: ResolvedConfig): Promise<JobStore> {
  return sqliteJobStore({ path: path.join(stateFolder(resolved), 'jobs.db') });
}

/** Shares of an endpoint's new jobs by provider. */
export function sharesOf(config: RylaConfig, endpoint: string): Readonly<Record<Provider, number>> {
  const shares = config.routes?.[endpoint] ?? { [config.defaultProvider ?? 'modal']: 1 };
  return { modal: shares.modal ?? 0, runpod: shares.runpod ?? 0 };
}

/**
 * An adapter for one deployment of an endpoint.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration`, naming what is missing.
 */
export function adapterFor(resolved: ResolvedConfig, provider: Provider, endpoint: EndpointConfig): Adapter {
  return resolved.target === 'local'
    ? localAdapter(resolved, provider, endpoint)
    : cloudAdapter(resolved, provider, endpoint);
}

/** Address of an endpoint's gateway on Modal. */
export function gatewayUrl(resolved: ResolvedConfig, endpoint: string): string {
  const label = gatewayLabel(endpoint);
  return resolved.target === 'local'
    ? localWebUrl(readLocalClouds(resolved.root), label)
    : `https://${required(resolved, 'modalWorkspace')}--${label}.modal.run`;
}

function localAdapter(resolved: ResolvedConfig, provider: Provider, endpoint: EndpointConfig): Adapter {
  const clouds = readLocalClouds(resolved.root);
  if (provider === 'runpod') {
    const { apiUrl, apiKey } = clouds.runpod;
    return runpod({ endpointId: endpoint.providers.runpod.endpointId ?? endpoint.name, apiKey, apiUrl });
  }
  const { proxyKey: key, proxySecret: secret } = clouds.modal;
  const token = clouds.environment['RYLA_API_TOKEN'] ?? '';
  return modal({
    baseUrl: gatewayUrl(resolved, endpoint.name),
    auth:
      endpoint.providers.modal.auth === 'modal-proxy'
        ? { type: 'modal-proxy', key, secret }
        : { type: 'bearer', token },
  });
}

function cloudAdapter(resolved: ResolvedConfig, provider: Provider, endpoint: EndpointConfig): Adapter {
  const value = (name: keyof typeof CLOUD_VARIABLES): string => required(resolved, name);
  if (provider === 'runpod') {
    const { endpointId } = endpoint.providers.runpod;
    if (endpointId === undefined) {
      throw new ComfyUIServiceError(
        'invalid_configuration',
        `Endpoint ${endpoint.name} names no RunPod endpoint: set providers.runpod.endpointId in its endpoint.json.`,
        { endpoint: endpoint.name },
      );
    }
    const claims = resolved.config.cloud?.runpodClaims ?? false;
    return runpod({ endpointId, apiKey: value('runpodApiKey'), claims });
  }
  return modal({
    baseUrl: gatewayUrl(resolved, endpoint.name),
    auth:
      endpoint.providers.modal.auth === 'modal-proxy'
        ? { type: 'modal-proxy', key: value('modalProxyKey'), secret: value('modalProxySecret') }
        : { type: 'bearer', token: value('bearerToken') },
  });
}

function required(resolved: ResolvedConfig, name: keyof typeof CLOUD_VARIABLES): string {
  const key = variableName(resolved, name);
  const value = resolved.env[key];
  if (value !== undefined && value !== '') return value;
  throw new ComfyUIServiceError(
    'invalid_configuration',
    `--target cloud needs the environment variable ${key}.`,
    { hint: 'docs/deploying.md says where its value comes from.' },
  );
}

/** What can be reached, and why the rest cannot. */
export interface ConfiguredService {
  readonly service: ComfyUIService;
  /** Deployments that cannot be used, by their backend's name. */
  readonly unusable: ReadonlyMap<string, ComfyUIServiceError>;
}

/**
 * The service that a configuration describes, over all deployments of these endpoints. A share of a deployment that
 * cannot be used stays in its route, and jobs that it falls to are refused with `unknown_backend`: nothing goes
 * anywhere else by accident.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration`.
 */
export async function createServiceFromConfig(
  resolved: ResolvedConfig,
  endpoints: readonly EndpointConfig[],
  more: Pick<ComfyUIServiceOptions, 'onProblem' | 'webhooks'> = {},
): Promise<ConfiguredService> {
  const { config } = resolved;
  const adapters: Record<string, Adapter> = {};
  checkConfig(
    config,
    endpoints.map(({ name }) => name),
  );
  const unusable = new Map<string, ComfyUIServiceError>();
  for (const endpoint of endpoints) {
    for (const provider of PROVIDERS) {
      const name = backendName(provider, endpoint.name);
      try {
        adapters[name] = adapterFor(resolved, provider, endpoint);
      } catch (error) {
        if (!ComfyUIServiceError.isInstance(error)) throw error;
        unusable.set(name, error);
      }
    }
  }
  const folder = stateFolder(resolved);
  const store = await openStore(resolved);
  const service = createComfyUIService({
    adapters,
    store,
    routes: routesOf(config, endpoints, adapters),
    ...(config.keepOutputs === false ? {} : { artifacts: directoryArtifacts(path.join(folder, 'outputs')) }),
    ...(config.usdPerDay === undefined ? {} : { usdPerDay: config.usdPerDay }),
    ...(config.restarts === undefined ? {} : { restarts: config.restarts }),
    ...more,
  });
  return { service, unusable };
}

function routesOf(
  config: RylaConfig,
  endpoints: readonly EndpointConfig[],
  adapters: Readonly<Record<string, Adapter>>,
): RouteTable {
  const routes: Record<string, Route> = {};
  for (const { name } of endpoints) {
    const shares = sharesOf(config, name);
    routes[name] = PROVIDERS.map((provider) => ({
      backend: backendName(provider, name),
      weight: shares[provider],
    })).filter(({ backend, weight }) => weight > 0 || Object.hasOwn(adapters, backend));
  }
  // A backend is one endpoint's deployment, which nothing else may fall to: bare workflows name their backend.
  return { default: [{ backend: 'none', weight: 1 }], endpoints: routes };
}
