import type { AppliedEntry } from './apply.ts';
import type { CallOptions, RunPodManagement } from './client.ts';
import type { EndpointUpdate, RunPodEndpoint, RunPodScaling } from './schemas.ts';

/**
 * Takes back what one entry of an apply did, as after a failed smoke test: an updated endpoint gets its former settings, variables
 * and fingerprint; one that was just made is deleted. What was deleted cannot come back. Returns whether anything was sent.
 */
export async function rollBackRunpod(
  entry: AppliedEntry,
  client: RunPodManagement,
  options: CallOptions = {},
): Promise<boolean> {
  if (entry.id === undefined) return false;
  if (entry.outcome === 'created') {
    await client.deleteEndpoint(entry.id, options);
    return true;
  }
  if (entry.outcome !== 'updated' || entry.previous === undefined) return false;
  await client.updateEndpoint(entry.id, formerSettings(entry.previous), options);
  return true;
}

/** The settings of a live endpoint as a request, variables with their values. */
export function formerSettings(live: RunPodEndpoint): EndpointUpdate {
  const { gpu, workers, scaling } = live;
  const { min, max, idleTimeout } = workers;
  return {
    name: live.name,
    ...(live.image === undefined ? {} : { image: live.image }),
    ...(live.args === undefined ? {} : { args: live.args }),
    ...(live.disk === undefined ? {} : { disk: live.disk }),
    ...(live.registry === undefined ? {} : { registry: live.registry }),
    ...(live.env === undefined ? {} : { env: live.env.reveal() }),
    ...(gpu === null || gpu === undefined
      ? {}
      : {
          gpu: {
            pools: gpu.pools,
            count: gpu.count ?? 1,
            ...(gpu.excludedTypes === undefined ? {} : { excludedTypes: gpu.excludedTypes }),
          },
        }),
    workers: { min, max, ...(idleTimeout === undefined ? {} : { idleTimeout }) },
    ...(isKnown(scaling) ? { scaling } : {}),
    dataCenterIds: live.dataCenterIds,
    networkVolumes: live.networkVolumes,
    timeout: live.timeout,
    flashboot: live.flashboot,
  };
}

function isKnown(scaling: RunPodEndpoint['scaling']): scaling is RunPodScaling {
  return 'queueDelay' in scaling || 'requestCount' in scaling;
}
