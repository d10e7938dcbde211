/** `ryla.config.ts`: where an application's jobs may go, and how they are kept. */
import { existsSync } from 'node:fs';
import path from 'node:path';

import type { EndpointConfig } from '@ryla/workflow';
import { z } from 'zod';

import type { Adapter } from './adapter.ts';
import { modal } from './adapters/modal.ts';
import { runpod } from './adapters/runpod.ts';
import { runComfyAdapter, type RunComfyDeployment, runComfyDeployment } from './config-runcomfy.ts';
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

export type { RunComfyDeployment } from './config-runcomfy.ts';

/** Clouds that endpoints can be deployed to. */
export const PROVIDERS = ['modal', 'runpod'] as const;

/** One of {@link PROVIDERS}. */
export type Provider = (typeof PROVIDERS)[number];

/** Where an endpoint's jobs may go: those clouds, and RunComfy, which nothing here deploys to. */
export const BACKENDS = [...PROVIDERS, 'runcomfy'] as const;

/** One of {@link BACKENDS}. */
export type BackendKind = (typeof BACKENDS)[number];

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
  /** Deployments on RunComfy by endpoint; endpoints that are absent have none. */
  readonly runcomfy?: Readonly<Record<string, RunComfyDeployment>>;
  /** Shares of an endpoint's new jobs by provider. Endpoints that are absent go to `defaultProvider`. */
  readonly routes?: Readonly<Record<string, Partial<Readonly<Record<BackendKind, number>>>>>;
  /** Provider of endpoints without a route. Default `modal`. */
  readonly defaultProvider?: Provider;
  /** US dollars a day (UTC) by endpoint. */
  readonly usdPerDay?: Readonly<Record<string, number>>;
  /** Runs that may follow one whose machine died. Default 1. */
  readonly restarts?: number;
  /**
   * File of the migration, from the root: it decides where the jobs of its endpoints go. Default {@link MIGRATION_FILE} where
   * there is one; `false` for none.
   */
  readonly migration?: string | false;
  /** Names of environment variables that hold what real clouds need; never the values. */
  readonly cloud?: {
    /** Default `MODAL_WORKSPACE`. */
    readonly modalWorkspace?: string;
    /** Modal environment of the deployments; the default one where it is not set. Default `MODAL_ENVIRONMENT`. */
    readonly modalEnvironment?: string;
    /**
     * What stands for that environment in its web addresses, where it is not the environment's name
     * (`modal environment list` shows it). Default `MODAL_WEB_SUFFIX`.
     */
    readonly modalWebSuffix?: string;
    /** Default `MODAL_PROXY_KEY` and `MODAL_PROXY_SECRET`. */
    readonly modalProxyKey?: string;
    readonly modalProxySecret?: string;
    /** Token of endpoints with the auth `bearer`. Default `RYLA_API_TOKEN`. */
    readonly bearerToken?: string;
    /** Default `RUNPOD_API_KEY`. */
    readonly runpodApiKey?: string;
    /** Default `RUNCOMFY_API_KEY`. */
    readonly runcomfyApiKey?: string;
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
        .strictObject({ modal: share, runpod: share, runcomfy: share })
        .refine((shares) => Object.values(shares).some((each) => each !== undefined && each > 0), {
          message: 'at least one provider must have a share above 0',
        }),
    )
    .optional(),
  defaultProvider: z.enum(PROVIDERS).optional(),
  runcomfy: z.record(z.string(), runComfyDeployment).optional(),
  usdPerDay: z.record(z.string(), z.number().nonnegative()).optional(),
  restarts: z.number().int().nonnegative().optional(),
  migration: z.union([z.string().min(1), z.literal(false)]).optional(),
  cloud: z
    .strictObject({
      modalWorkspace: variable,
      modalEnvironment: variable,
      modalWebSuffix: variable,
      modalProxyKey: variable,
      modalProxySecret: variable,
      bearerToken: variable,
      runpodApiKey: variable,
      runcomfyApiKey: variable,
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
    for (const name of Object.keys(config.usdPerDay ?? {})) {
      if (sharesOf(config, name).runcomfy > 0)
        problems.push(
          `usdPerDay.${name}: RunComfy does not tell what a job costs, so that its share would not be limited`,
        );
    }
    for (const field of ['routes', 'usdPerDay', 'runcomfy'] as const) {
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
  modalEnvironment: 'MODAL_ENVIRONMENT',
  modalWebSuffix: 'MODAL_WEB_SUFFIX',
  modalProxyKey: 'MODAL_PROXY_KEY',
  modalProxySecret: 'MODAL_PROXY_SECRET',
  bearerToken: 'RYLA_API_TOKEN',
  runpodApiKey: 'RUNPOD_API_KEY',
  runcomfyApiKey: 'RUNCOMFY_API_KEY',
} as const;

/** Folder of the endpoints. */
export function endpointsFolder({ root, config }: Pick<ResolvedConfig, 'root' | 'config'>): string {
  return path.resolve(root, config.endpoints ?? 'apps/endpoints');
}

/** Folder of the job store and the kept outputs of a target. */
export function stateFolder({ root, config, target }: ResolvedConfig): string {
  return path.resolve(root, config.state ?? '.ryla', target);
}

/** Name of the migration's file at the root of a workspace. */
export const MIGRATION_FILE = 'ryla.migration.json';

/**
 * The migration's file; undefined where there is none.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration` where the configuration names a file that is not there.
 */
export function migrationPath({ root, config }: Pick<ResolvedConfig, 'root' | 'config'>): string | undefined {
  const { migration } = config;
  if (migration === false) return undefined;
  const file = path.resolve(root, migration ?? MIGRATION_FILE);
  if (existsSync(file)) return file;
  if (migration === undefined) return undefined;
  throw new ComfyUIServiceError(
    'invalid_configuration',
    `ryla.config.ts names ${file}, which is not there.`,
    {
      hint: '`ryla migrate import` writes one; `migration: false` goes without.',
    },
  );
}

/** Name of a deployment as a backend of the service: every endpoint has limits and a breaker of its own. */
export function backendName(provider: BackendKind, endpoint: string): string {
  return `${provider}:${endpoint}`;
}

/** The part of an endpoint.json that names its addresses on Modal. */
export type ModalNaming = Pick<EndpointConfig, 'name'> & {
  readonly providers: { readonly modal: Pick<EndpointConfig['providers']['modal'], 'label'> };
};

/** The gateway's pinned label on Modal: see apps/modal/comfyui_app.py. */
export function gatewayLabel({ name, providers }: ModalNaming): string {
  return `${providers.modal.label ?? `ryla-${name}`}-api`;
}

/** Longest first part of a host name; Modal cuts longer ones and adds a hash of its own. */
const SUBDOMAIN_LIMIT = 63;

/** What stands for the chosen environment in a Modal workspace's web addresses. `main` has nothing there. */
function webSuffix(resolved: ResolvedConfig): string {
  const { env } = resolved;
  const environment = env[variableName(resolved, 'modalEnvironment')] ?? '';
  const suffix = env[variableName(resolved, 'modalWebSuffix')] ?? (environment === 'main' ? '' : environment);
  return suffix === '' ? '' : `-${suffix}`;
}

/** The target in words, for people who must know where they act. */
export function describeTarget(resolved: ResolvedConfig): string {
  const { target, root, env } = resolved;
  if (target === 'cloud') {
    const workspace = env[variableName(resolved, 'modalWorkspace')] ?? '';
    const environment = env[variableName(resolved, 'modalEnvironment')] ?? '';
    const where = `${workspace || 'not set'}${environment === '' ? '' : `, environment ${environment}`}`;
    return `cloud (real accounts; jobs cost money; Modal workspace ${where})`;
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

/** Where jobs of an endpoint can be sent by a configuration: RunComfy only where it has a deployment or a share. */
export function backendsOf(config: RylaConfig, endpoint: string): readonly BackendKind[] {
  const onRunComfy = config.runcomfy?.[endpoint] !== undefined || sharesOf(config, endpoint).runcomfy > 0;
  return onRunComfy ? BACKENDS : PROVIDERS;
}

/** Shares of an endpoint's new jobs by provider. */
export function sharesOf(config: RylaConfig, endpoint: string): Readonly<Record<BackendKind, number>> {
  const shares: Partial<Record<BackendKind, number>> = config.routes?.[endpoint] ?? {
    [config.defaultProvider ?? 'modal']: 1,
  };
  return { modal: shares.modal ?? 0, runpod: shares.runpod ?? 0, runcomfy: shares.runcomfy ?? 0 };
}

/**
 * An adapter for one deployment of an endpoint.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration`, naming what is missing.
 */
export function adapterFor(
  resolved: ResolvedConfig,
  provider: BackendKind,
  endpoint: EndpointConfig,
): Adapter {
  if (provider === 'runcomfy') {
    const { root, target, config } = resolved;
    const apiKey = (): string => required(resolved, 'runcomfyApiKey');
    return runComfyAdapter(endpoint.name, config.runcomfy?.[endpoint.name], { root, target, apiKey });
  }
  return resolved.target === 'local'
    ? localAdapter(resolved, provider, endpoint)
    : cloudAdapter(resolved, provider, endpoint);
}

/**
 * Address of an endpoint's gateway on Modal: `<workspace>[-<environment>]--<label>-api.modal.run`.
 *
 * @throws {ComfyUIServiceError} `invalid_configuration` where the workspace is not known, or the name is longer than Modal
 *   keeps it.
 */
export function gatewayUrl(resolved: ResolvedConfig, endpoint: ModalNaming): string {
  const label = gatewayLabel(endpoint);
  if (resolved.target === 'local') return localWebUrl(readLocalClouds(resolved.root), label);
  const subdomain = `${required(resolved, 'modalWorkspace')}${webSuffix(resolved)}--${label}`;
  if (subdomain.length <= SUBDOMAIN_LIMIT) return `https://${subdomain}.modal.run`;
  throw new ComfyUIServiceError(
    'invalid_configuration',
    `${subdomain} has ${subdomain.length} characters: Modal cuts addresses at ${SUBDOMAIN_LIMIT} and adds a hash.`,
    {
      endpoint: endpoint.name,
      hint: 'Set a shorter providers.modal.label in its endpoint.json, and deploy again.',
    },
  );
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
    baseUrl: gatewayUrl(resolved, endpoint),
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
    baseUrl: gatewayUrl(resolved, endpoint),
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
  /** The service's store, which it closes. */
  readonly store: JobStore;
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
    for (const provider of backendsOf(config, endpoint.name)) {
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
  return { service, store, unusable };
}

function routesOf(
  config: RylaConfig,
  endpoints: readonly EndpointConfig[],
  adapters: Readonly<Record<string, Adapter>>,
): RouteTable {
  const routes: Record<string, Route> = {};
  for (const { name } of endpoints) {
    const shares = sharesOf(config, name);
    routes[name] = BACKENDS.map((provider) => ({
      backend: backendName(provider, name),
      weight: shares[provider],
    })).filter(({ backend, weight }) => weight > 0 || Object.hasOwn(adapters, backend));
  }
  // A backend is one endpoint's deployment, which nothing else may fall to: bare workflows name their backend.
  return { default: [{ backend: 'none', weight: 1 }], endpoints: routes };
}
