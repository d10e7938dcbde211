/** Which RunPod endpoint an endpoint has, where its endpoint.json does not say: the one that `ryla deploy` made. */
import { ComfyUIServiceError } from '@ryla/business';
import { backendName, type ResolvedConfig, variableName } from '@ryla/business/config';
import {
  createRunPodManagement,
  deployedEndpoint,
  MAIN_ENVIRONMENT,
  readRunpodEndpoints,
  type RunPodEndpoint,
} from '@ryla/runpod-management';
import type { EndpointConfig } from '@ryla/workflow';

import { accountOf } from './runpod-cloud.ts';

/** Milliseconds that RunPod may take to list the account's endpoints. */
const PATIENCE_MS = 20_000;

/** Endpoints with what was found, and why the others' jobs cannot go to RunPod. */
export interface RunPodResolution {
  readonly endpoints: readonly EndpointConfig[];
  /** By the name of the backend. */
  readonly unusable: ReadonlyMap<string, ComfyUIServiceError>;
}

/**
 * Asks RunPod for the endpoints that `ryla deploy --provider runpod` made in the environment `main`. It does not ask where every
 * endpoint.json has an `endpointId`, nor without credentials. Never throws: what could not be asked makes the deployments unusable
 * that need it, and no others.
 *
 * @param onRunPod names of the endpoints that are deployed there.
 * @param list lists an account's endpoints.
 */
export async function withRunPodEndpoints(
  resolved: ResolvedConfig,
  endpoints: readonly EndpointConfig[],
  onRunPod: readonly string[],
  list: (resolved: ResolvedConfig) => Promise<readonly RunPodEndpoint[]> = listed,
): Promise<RunPodResolution> {
  const nameless = new Set(
    endpoints
      .filter(({ name, providers }) => providers.runpod.endpointId === undefined && onRunPod.includes(name))
      .map(({ name }) => name),
  );
  if (nameless.size === 0 || !canAsk(resolved)) return { endpoints, unusable: new Map() };
  try {
    const live = await list(resolved);
    const found = endpoints.map((config) => (nameless.has(config.name) ? named(config, live) : config));
    return { endpoints: found, unusable: resolved.target === 'local' ? new Map() : absent(found, nameless) };
  } catch (cause) {
    const error = (endpoint: string): ComfyUIServiceError =>
      new ComfyUIServiceError(
        'invalid_configuration',
        `RunPod could not be asked which endpoint ${endpoint} is: ${cause instanceof Error ? cause.message : String(cause)}`,
        { endpoint, hint: 'providers.runpod.endpointId in its endpoint.json says it without asking.', cause },
      );
    return {
      endpoints,
      unusable: new Map([...nameless].map((name) => [backendName('runpod', name), error(name)])),
    };
  }
}

/** Without a key, the adapter says what is missing. Local clouds that are not running have nothing to ask. */
function canAsk(resolved: ResolvedConfig): boolean {
  if (resolved.target === 'cloud') return (resolved.env[variableName(resolved, 'runpodApiKey')] ?? '') !== '';
  try {
    accountOf(resolved);
    return true;
  } catch {
    return false;
  }
}

async function listed(resolved: ResolvedConfig): Promise<readonly RunPodEndpoint[]> {
  const { apiKey, managementUrl } = accountOf(resolved);
  await using client = createRunPodManagement({
    apiKey,
    ...(managementUrl === undefined ? {} : { baseUrl: managementUrl }),
  });
  return await readRunpodEndpoints(client, { signal: AbortSignal.timeout(PATIENCE_MS) });
}

function named(config: EndpointConfig, endpoints: readonly RunPodEndpoint[]): EndpointConfig {
  const own = deployedEndpoint({ endpoint: config.name, environment: MAIN_ENVIRONMENT }, { endpoints });
  if (own === undefined) return config;
  const { providers } = config;
  return { ...config, providers: { ...providers, runpod: { ...providers.runpod, endpointId: own.id } } };
}

function absent(
  endpoints: readonly EndpointConfig[],
  nameless: ReadonlySet<string>,
): Map<string, ComfyUIServiceError> {
  const missing = endpoints.filter(
    ({ name, providers }) => nameless.has(name) && providers.runpod.endpointId === undefined,
  );
  return new Map(
    missing.map(({ name }) => [
      backendName('runpod', name),
      new ComfyUIServiceError('invalid_configuration', `${name} is not deployed on RunPod.`, {
        endpoint: name,
        hint: `\`ryla deploy ${name} --provider runpod\` deploys it; providers.runpod.endpointId names one that was made by hand.`,
      }),
    ]),
  );
}
