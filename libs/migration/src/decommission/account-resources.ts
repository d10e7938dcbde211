/** What an account on RunPod holds, as far as deleting something has to know it. */
import {
  readRunpodEndpoints,
  type RunPodEndpoint,
  type RunPodManagement,
  RunPodManagementError,
  type RunPodNetworkVolume,
  type RunPodPod,
  type RunPodTemplate,
} from '@ryla/runpod-management';

/** Everything that may refer to something else, and everything that may be referred to. */
export interface AccountResources {
  readonly endpoints: readonly RunPodEndpoint[];
  readonly networkVolumes: readonly RunPodNetworkVolume[];
  /** Undefined where the API key may not read them: then nobody knows what they need. */
  readonly templates: readonly RunPodTemplate[] | undefined;
  readonly pods: readonly RunPodPod[] | undefined;
}

/** Part of the client that reads. */
export type AccountReader = Pick<
  RunPodManagement,
  'listEndpoints' | 'getEndpoint' | 'listTemplates' | 'listNetworkVolumes' | 'listPods'
>;

/**
 * Reads an account.
 *
 * @throws {RunPodManagementError} when it cannot be read; a key without access to templates or pods is no error.
 */
export async function readAccountResources(
  client: AccountReader,
  options: { readonly signal?: AbortSignal } = {},
): Promise<AccountResources> {
  const [endpoints, networkVolumes, templates, pods] = await Promise.all([
    readRunpodEndpoints(client, options),
    client.listNetworkVolumes(options),
    orForbidden(client.listTemplates(options)),
    orForbidden(client.listPods(options)),
  ]);
  return { endpoints, networkVolumes, templates, pods };
}

async function orForbidden<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (RunPodManagementError.isInstance(error) && error.code === 'forbidden') return undefined;
    throw error;
  }
}
