import type { CallOptions, RunPodManagement } from './client.ts';
import type { DesiredEndpoint } from './desired-endpoint.ts';
import type { RunPodEndpoint, RunPodGpuType, RunPodNetworkVolume, RunPodTemplate } from './schemas.ts';

/** What an account holds, as far as a plan needs it. What was not asked for is undefined. */
export interface LiveState {
  readonly endpoints: readonly RunPodEndpoint[];
  readonly networkVolumes?: readonly RunPodNetworkVolume[];
  readonly gpuTypes?: readonly RunPodGpuType[];
  readonly templates?: readonly RunPodTemplate[];
}

/**
 * Reads what a plan for these endpoints needs: endpoints and the catalogue always, network volumes and templates where one
 * names some: two or three requests and one for each template, whatever the number of endpoints.
 */
export async function readRunpodLive(
  client: RunPodManagement,
  desired: readonly DesiredEndpoint[],
  options: CallOptions = {},
): Promise<LiveState> {
  const [endpoints, gpuTypes, networkVolumes, templates] = await Promise.all([
    readRunpodEndpoints(client, options),
    client.listGpuTypes(options),
    desired.some((one) => one.networkVolumes.length > 0) ? client.listNetworkVolumes(options) : undefined,
    readTemplates(client, desired, options),
  ]);
  return {
    endpoints,
    gpuTypes,
    templates,
    ...(networkVolumes === undefined ? {} : { networkVolumes }),
  };
}

/** Every endpoint with its variables, which hold the marker: the document lets a list leave them out. */
export async function readRunpodEndpoints(
  client: Pick<RunPodManagement, 'listEndpoints' | 'getEndpoint'>,
  options: CallOptions = {},
): Promise<readonly RunPodEndpoint[]> {
  const listed = await client.listEndpoints(options);
  const whole: RunPodEndpoint[] = [];
  for (const one of listed)
    whole.push(one.env === undefined ? await client.getEndpoint(one.id, options) : one);
  return whole;
}

/** Templates are asked for one by one: a public one is not in the account's list. */
async function readTemplates(
  client: RunPodManagement,
  desired: readonly DesiredEndpoint[],
  options: CallOptions,
): Promise<readonly RunPodTemplate[]> {
  const ids = new Set(desired.flatMap(({ template }) => (template === undefined ? [] : [template])));
  const found: RunPodTemplate[] = [];
  for (const id of ids) {
    try {
      found.push(await client.getTemplate(id, options));
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
  return found;
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'not_found';
}
