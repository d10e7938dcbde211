import type { Adapter } from '@ryla/business';
import { adapterFor, gatewayUrl, PROVIDERS, type Provider, type ResolvedConfig } from '@ryla/business/config';
import { readLocalClouds } from '@ryla/business/local-clouds';
import type { EndpointConfig } from '@ryla/workflow';

import type { DeploymentTarget } from './deployment-target.ts';

/** Backends that `nx run <endpoint>:run` can use. */
export const RUN_BACKENDS = PROVIDERS;

/** One of {@link RUN_BACKENDS}. */
export type RunBackend = Provider;

/** An adapter, and where it leads in words. */
export interface ChosenBackend {
  readonly adapter: Adapter;
  readonly description: string;
}

/** What decides which deployment a run goes to. */
export interface BackendChoice {
  readonly backend: RunBackend;
  readonly target: DeploymentTarget;
  readonly config: EndpointConfig;
  readonly workspaceRoot: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The adapter for a deployment of an endpoint: on the local clouds, or where the environment says. */
export function chooseBackend({ backend, target, config, workspaceRoot, env }: BackendChoice): ChosenBackend {
  const resolved: ResolvedConfig = { root: workspaceRoot, target, config: {}, env };
  return {
    adapter: adapterFor(resolved, backend, config),
    description: describe(resolved, backend, config),
  };
}

function describe(resolved: ResolvedConfig, backend: RunBackend, config: EndpointConfig): string {
  const { endpointId = config.name } = config.providers.runpod;
  if (resolved.target === 'cloud')
    return backend === 'runpod'
      ? `RunPod (endpoint ${endpointId})`
      : `Modal (${gatewayUrl(resolved, config)})`;
  return backend === 'runpod'
    ? `local clouds (RunPod endpoint ${endpointId} at ${readLocalClouds(resolved.root).runpod.apiUrl})`
    : `local clouds (Modal at ${gatewayUrl(resolved, config)})`;
}
