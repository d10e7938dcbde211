import { type Adapter, modal, runpod } from '@ryla/business';
import type { EndpointConfig } from '@ryla/workflow';

import type { DeploymentTarget } from './deployment-target.ts';
import { localWebUrl, readLocalClouds } from '@ryla/business/local-clouds';

/** Backends that `nx run <endpoint>:run` can use. */
export const RUN_BACKENDS = ['modal', 'runpod'] as const;

/** One of {@link RUN_BACKENDS}. */
export type RunBackend = (typeof RUN_BACKENDS)[number];

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
export function chooseBackend(choice: BackendChoice): ChosenBackend {
  return choice.target === 'local' ? localBackend(choice) : cloudBackend(choice);
}

function localBackend({ backend, config, workspaceRoot }: BackendChoice): ChosenBackend {
  const clouds = readLocalClouds(workspaceRoot);
  if (backend === 'runpod') {
    const endpointId = config.providers.runpod.endpointId ?? config.name;
    const { apiUrl, apiKey } = clouds.runpod;
    return {
      adapter: runpod({ endpointId, apiKey, apiUrl }),
      description: `local clouds (RunPod endpoint ${endpointId} at ${apiUrl})`,
    };
  }
  const baseUrl = localWebUrl(clouds, gatewayLabel(config));
  const { proxyKey, proxySecret } = clouds.modal;
  const auth =
    config.providers.modal.auth === 'modal-proxy'
      ? { type: 'modal-proxy' as const, key: proxyKey, secret: proxySecret }
      : { type: 'bearer' as const, token: clouds.environment['RYLA_API_TOKEN'] ?? '' };
  return { adapter: modal({ baseUrl, auth }), description: `local clouds (Modal at ${baseUrl})` };
}

function cloudBackend({ backend, config, env }: BackendChoice): ChosenBackend {
  if (backend === 'runpod') {
    const endpointId = config.providers.runpod.endpointId;
    if (endpointId === undefined) {
      throw new Error(
        `Endpoint ${config.name} names no RunPod endpoint: set providers.runpod.endpointId in its endpoint.json.`,
      );
    }
    return {
      adapter: runpod({ endpointId, apiKey: required(env, 'RUNPOD_API_KEY') }),
      description: `RunPod (endpoint ${endpointId})`,
    };
  }
  const baseUrl = `https://${required(env, 'MODAL_WORKSPACE')}--${gatewayLabel(config)}.modal.run`;
  const auth =
    config.providers.modal.auth === 'modal-proxy'
      ? {
          type: 'modal-proxy' as const,
          key: required(env, 'MODAL_PROXY_KEY'),
          secret: required(env, 'MODAL_PROXY_SECRET'),
        }
      : { type: 'bearer' as const, token: required(env, 'RYLA_API_TOKEN') };
  return { adapter: modal({ baseUrl, auth }), description: `Modal (${baseUrl})` };
}

/** The gateway's pinned label: see apps/modal/comfyui_app.py. */
function gatewayLabel({ name }: EndpointConfig): string {
  return `ryla-${name}-api`;
}

function required(env: Readonly<Record<string, string | undefined>>, variable: string): string {
  const value = env[variable];
  if (value === undefined || value === '')
    throw new Error(`--target cloud needs the environment variable ${variable}.`);
  return value;
}
