import type { EndpointConfig } from '@ryla/workflow';

import { poolsFor } from './gpu-pools.ts';
import { RunPodManagementError } from './runpod-error.ts';
import type { RunPodScaling } from './schemas.ts';
import {
  IDLE_TIMEOUT_SECONDS,
  type RunPodSettings,
  runpodSettings,
  type RunPodSettingsInput,
} from './settings.ts';

/** What of a checked endpoint.json is read; lay the environment's overrides over it first (`inEnvironment`). */
export type EndpointForRunPod = Pick<
  EndpointConfig,
  'name' | 'gpu' | 'scaling' | 'timeouts' | 'providers'
> & {
  readonly image?: { readonly variables?: Readonly<Record<string, string>> };
};

/** Options of {@link desiredRunpodEndpoint}. */
export interface DesiredOptions {
  /** The image by digest: `registry/name@sha256:…`. */
  readonly image: string;
  /** Whether the image is the one that is live, which may have a tag only: nothing new is put there by it. */
  readonly keepImage?: boolean;
  /** Environment that is deployed, such as `main`; part of the marker, and of the name unless it is `main`. */
  readonly environment?: string;
  /** Nx's hash of the `fingerprint` task; without it, no fingerprint is compared or written. */
  readonly fingerprint?: string;
  /** Laid over `providers.runpod`, key by key. */
  readonly settings?: RunPodSettingsInput;
}

/** An endpoint as it shall be on RunPod. `timeoutMs` in milliseconds, `idleTimeout` in seconds. Holds no secret's value. */
export interface DesiredEndpoint {
  /** Name in the repository. */
  readonly endpoint: string;
  readonly environment: string;
  /** Name on RunPod. */
  readonly name: string;
  readonly endpointId?: string;
  readonly fingerprint?: string;
  readonly image: string;
  readonly args?: string;
  readonly disk?: number;
  readonly registry?: string;
  readonly template?: string;
  /** Values, or references to RunPod secrets. */
  readonly env: Readonly<Record<string, string>>;
  readonly gpu: {
    readonly pools: readonly string[];
    readonly excludedTypes: readonly string[];
    readonly count: number;
  };
  readonly workers: { readonly min: number; readonly max: number; readonly idleTimeout?: number };
  readonly scaling: RunPodScaling;
  readonly flashboot: string;
  /** Ids or names. */
  readonly networkVolumes: readonly string[];
  readonly dataCenterIds: readonly string[];
  readonly timeoutMs: number;
  /** What is different from Modal, in words. */
  readonly notes: readonly string[];
}

/** The environment whose endpoints have no suffix. */
export const MAIN_ENVIRONMENT = 'main';

/**
 * What an endpoint.json means on RunPod.
 *
 * @throws {RunPodManagementError} `image_not_pinned`, `invalid_settings` or `unknown_gpu`.
 */
export function desiredRunpodEndpoint(config: EndpointForRunPod, options: DesiredOptions): DesiredEndpoint {
  const environment = checkedEnvironment(options.environment ?? MAIN_ENVIRONMENT, config.name);
  const settings = checkedSettings(config, options.settings);
  const mapped = settings.gpuPools === undefined ? poolsFor(config.gpu, config.name) : undefined;
  const usual =
    environment === MAIN_ENVIRONMENT ? `ryla-${config.name}` : `ryla-${config.name}-${environment}`;
  return {
    endpoint: config.name,
    environment,
    name: settings.name ?? usual,
    ...(settings.endpointId === undefined ? {} : { endpointId: settings.endpointId }),
    ...fingerprint(options.fingerprint, config.name),
    image: options.keepImage === true ? options.image : pinnedImage(options.image, config.name),
    ...(settings.args === undefined ? {} : { args: settings.args }),
    ...(settings.containerDiskGb === undefined ? {} : { disk: settings.containerDiskGb }),
    ...(settings.registry === undefined ? {} : { registry: settings.registry }),
    ...(settings.template === undefined ? {} : { template: settings.template }),
    env: { ...config.image?.variables, ...settings.env },
    gpu: {
      pools: settings.gpuPools ?? mapped?.pools ?? [],
      excludedTypes: settings.excludedGpuTypes,
      count: settings.gpuCount ?? mapped?.count ?? 1,
    },
    workers: workers(config, settings),
    scaling: settings.scaling,
    flashboot: settings.flashboot,
    networkVolumes: settings.networkVolumes,
    dataCenterIds: settings.dataCenterIds,
    timeoutMs: config.timeouts.execution * 1000,
    notes: [...(mapped?.notes ?? []), ...scalingNotes(config, settings)],
  };
}

function checkedEnvironment(environment: string, endpoint: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(environment)) return environment;
  throw new RunPodManagementError(
    'invalid_settings',
    `${JSON.stringify(environment)} is not a name of an environment: letters, digits, dots, dashes, underscores.`,
    { endpoint },
  );
}

function checkedSettings(config: EndpointForRunPod, more: RunPodSettingsInput = {}): RunPodSettings {
  const result = runpodSettings.safeParse({ ...config.providers.runpod, ...more });
  if (result.success) return result.data;
  const problems = result.error.issues.map(
    ({ path, message }) => `  providers.runpod.${path.map(String).join('.')}: ${message}`,
  );
  throw new RunPodManagementError(
    'invalid_settings',
    `What ${config.name}'s endpoint.json says for RunPod is not valid:\n${problems.join('\n')}`,
    { endpoint: config.name },
  );
}

function fingerprint(value: string | undefined, endpoint: string): { readonly fingerprint?: string } {
  if (value === undefined) return {};
  if (/^[0-9A-Za-z_-]+$/.test(value)) return { fingerprint: value };
  throw new RunPodManagementError('invalid_settings', 'A fingerprint has letters and digits only.', {
    endpoint,
  });
}

function pinnedImage(image: string, endpoint: string): string {
  if (/^[a-z0-9][\w.:/-]*@sha256:[0-9a-f]{64}$/.test(image)) return image;
  throw new RunPodManagementError(
    'image_not_pinned',
    `The image of ${endpoint} must be named by its digest, not ${JSON.stringify(image)}: a tag may be another image tomorrow.`,
    {
      endpoint,
      hint: 'Push it, then use the digest that the push prints: <registry>/<name>@sha256:<64 digits>.',
    },
  );
}

function workers(config: EndpointForRunPod, { scaling }: RunPodSettings): DesiredEndpoint['workers'] {
  const { minContainers: min, maxContainers: max, scaledownWindow } = config.scaling;
  // RunPod refuses an idle timeout for a queue that scales on the number of requests.
  if (scaling.type === 'REQUEST_COUNT') return { min, max };
  const { minimum, maximum } = IDLE_TIMEOUT_SECONDS;
  return { min, max, idleTimeout: Math.min(Math.max(Math.ceil(scaledownWindow), minimum), maximum) };
}

function scalingNotes(config: EndpointForRunPod, { scaling }: RunPodSettings): readonly string[] {
  const notes: string[] = [];
  if (config.scaling.bufferContainers > 0)
    notes.push('bufferContainers has no counterpart on RunPod and is left out');
  if (scaling.type === 'REQUEST_COUNT')
    notes.push('scaledownWindow is left out: RunPod takes no idle timeout with REQUEST_COUNT');
  return notes;
}
