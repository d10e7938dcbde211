import { runpodProvider, runpodVariables } from '@ryla/workflow';
import type { z } from 'zod';

import { secretReference } from './environment-variables.ts';

/** Variables that this library sets itself, and reads back. */
export const OWN_VARIABLES = {
  managedBy: 'RYLA_MANAGED_BY',
  endpoint: 'RYLA_ENDPOINT',
  environment: 'RYLA_ENVIRONMENT',
  fingerprint: 'RYLA_FINGERPRINT',
} as const;

/** Value of {@link OWN_VARIABLES}.managedBy: the marker of what this library may change. */
export const MANAGED_BY = 'ryla-runpod-management';

/** Longest `idleTimeout` in seconds (RunPod's OpenAPI document 2.0.0). */
export const IDLE_TIMEOUT_SECONDS = { minimum: 1, maximum: 3_600 } as const;

/** Seconds that a request waits in the queue before another worker starts, where endpoint.json says nothing: RunPod's examples. */
export const QUEUE_DELAY_SECONDS = 4;

/** What an endpoint.json says for RunPod alone, as `providers.runpod`, with its defaults. */
export const runpodSettings = runpodProvider.extend({
  excludedGpuTypes: runpodProvider.shape.excludedGpuTypes.default([]),
  scaling: runpodProvider.shape.scaling.default({ type: 'QUEUE_DELAY', queueDelay: QUEUE_DELAY_SECONDS }),
  flashboot: runpodProvider.shape.flashboot.default('OFF'),
  networkVolumes: runpodProvider.shape.networkVolumes.default([]),
  dataCenterIds: runpodProvider.shape.dataCenterIds.default([]),
  env: runpodVariables.default({}).transform(withReferences),
});

function withReferences(
  variables: Readonly<Record<string, string | { readonly secret: string }>>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(variables).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : secretReference(value.secret),
    ]),
  );
}

/** Checked settings with their defaults. */
export type RunPodSettings = z.infer<typeof runpodSettings>;

/** Settings as one writes them. */
export type RunPodSettingsInput = z.input<typeof runpodSettings>;
