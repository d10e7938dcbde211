/** A desired endpoint with everything that only the account knows: ids of volumes, data centres, a template's settings. */
import type { DesiredEndpoint } from './desired-endpoint.ts';
import type { LiveState } from './live-state.ts';
import { markerFor } from './ownership.ts';
import { RunPodManagementError } from './runpod-error.ts';
import type { EndpointCreation, RunPodNetworkVolume, RunPodTemplate } from './schemas.ts';

/** What is compared with a live endpoint. A field that is undefined is left as RunPod has it. */
export interface ResolvedEndpoint {
  readonly name: string;
  readonly image: string;
  readonly args: string | undefined;
  readonly disk: number | undefined;
  readonly registry: string | undefined;
  /** All variables, the marker among them. */
  readonly env: Readonly<Record<string, string>>;
  readonly gpu: DesiredEndpoint['gpu'];
  readonly workers: DesiredEndpoint['workers'];
  readonly scaling: DesiredEndpoint['scaling'];
  readonly dataCenterIds: readonly string[];
  readonly networkVolumes: readonly string[];
  readonly timeout: number;
  readonly flashboot: string;
}

/**
 * Resolves what an endpoint refers to.
 *
 * @throws {RunPodManagementError} `unknown_network_volume`, `unknown_gpu`, `template_not_found` or `invalid_settings`.
 */
export function resolveEndpoint(desired: DesiredEndpoint, live: LiveState): ResolvedEndpoint {
  checkPools(desired, live);
  const volumes = desired.networkVolumes.map((wanted) => findVolume(wanted, desired, live));
  const template = findTemplate(desired, live);
  return {
    name: desired.name,
    image: desired.image,
    args: desired.args ?? template?.args,
    disk: desired.disk ?? template?.disk,
    registry: desired.registry ?? template?.registry ?? undefined,
    env: { ...template?.env.reveal(), ...desired.env, ...markerFor(desired) },
    gpu: desired.gpu,
    workers: desired.workers,
    scaling: desired.scaling,
    dataCenterIds: dataCentres(desired, volumes),
    networkVolumes: volumes.map(({ id }) => id),
    timeout: desired.timeoutMs,
    flashboot: desired.flashboot,
  };
}

/** The request that makes the endpoint. */
export function creationOf(resolved: ResolvedEndpoint): EndpointCreation {
  const { args, disk, registry, gpu, ...rest } = resolved;
  return {
    ...rest,
    type: 'QUEUE',
    gpu: gpuRequest(gpu),
    ...(args === undefined ? {} : { args }),
    ...(disk === undefined ? {} : { disk }),
    ...(registry === undefined ? {} : { registry }),
  };
}

/** Pools and exclusions are one selection for RunPod: pools alone clear the exclusions. */
export function gpuRequest({
  pools,
  excludedTypes,
  count,
}: ResolvedEndpoint['gpu']): EndpointCreation['gpu'] {
  return { pools, count, ...(excludedTypes.length === 0 ? {} : { excludedTypes }) };
}

function checkPools({ gpu, endpoint }: DesiredEndpoint, { gpuTypes }: LiveState): void {
  if (gpuTypes === undefined) return;
  const known = new Set(gpuTypes.flatMap(({ pool }) => (pool === null ? [] : [pool])));
  const unknown = gpu.pools.filter((pool) => !known.has(pool));
  if (unknown.length > 0)
    throw new RunPodManagementError(
      'unknown_gpu',
      `RunPod's catalogue has no GPU pool ${unknown.join(', ')}; it has ${[...known].sort().join(', ')}.`,
      { endpoint, hint: 'Name other pools as "gpuPools" below "providers": {"runpod": …}.' },
    );
  const selected = new Set(gpuTypes.filter(({ pool }) => gpu.pools.includes(pool ?? '')).map(({ id }) => id));
  const odd = gpu.excludedTypes.filter((type) => !selected.has(type));
  if (odd.length > 0 || (selected.size > 0 && gpu.excludedTypes.length === selected.size))
    throw new RunPodManagementError(
      'unknown_gpu',
      odd.length > 0
        ? `${odd.join(', ')} is not in ${gpu.pools.join(', ')}, which have ${[...selected].join(', ')}.`
        : `"excludedGpuTypes" leaves no card of ${gpu.pools.join(', ')}.`,
      { endpoint },
    );
}

function findVolume(wanted: string, desired: DesiredEndpoint, live: LiveState): RunPodNetworkVolume {
  const volumes = live.networkVolumes ?? [];
  const byId = volumes.find(({ id }) => id === wanted);
  const [first, ...more] = byId === undefined ? volumes.filter(({ name }) => name === wanted) : [byId];
  if (first !== undefined && more.length === 0) return first;
  const list = volumes.map(({ id, name, dataCenter }) => `${name} (${id}, ${dataCenter})`).join(', ');
  throw new RunPodManagementError(
    'unknown_network_volume',
    first === undefined
      ? `The account has no network volume ${wanted}; it has ${list || 'none'}.`
      : `Several network volumes are called ${wanted}: ${list}.`,
    {
      endpoint: desired.endpoint,
      hint: 'Name it by its id below "providers": {"runpod": {"networkVolumes": …}}.',
    },
  );
}

/** A worker that mounts a volume can only run where the volume is. */
function dataCentres(desired: DesiredEndpoint, volumes: readonly RunPodNetworkVolume[]): readonly string[] {
  const theirs = [...new Set(volumes.map(({ dataCenter }) => dataCenter))];
  if (desired.dataCenterIds.length === 0) return theirs;
  const outside = volumes.find(({ dataCenter }) => !desired.dataCenterIds.includes(dataCenter));
  if (outside !== undefined)
    throw new RunPodManagementError(
      'invalid_settings',
      `Network volume ${outside.name} is in ${outside.dataCenter}; endpoint.json asks for ${desired.dataCenterIds.join(', ')}.`,
      { endpoint: desired.endpoint, hint: 'Leave "dataCenterIds" out: they follow from the volumes.' },
    );
  return desired.dataCenterIds;
}

function findTemplate({ template, endpoint }: DesiredEndpoint, live: LiveState): RunPodTemplate | undefined {
  if (template === undefined) return undefined;
  const found = live.templates?.find(({ id }) => id === template);
  if (found?.serverless === true) return found;
  throw new RunPodManagementError(
    'template_not_found',
    found === undefined
      ? `There is no template ${template} that this API key can read.`
      : `Template ${template} is for pods, not for serverless endpoints.`,
    { endpoint },
  );
}
