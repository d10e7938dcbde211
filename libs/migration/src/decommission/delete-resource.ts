import { type RunPodManagement, RunPodManagementError } from '@ryla/runpod-management';

import type { Resource } from './deletion.ts';

/** Part of the client that deletes, and looks up what came of it. */
export type DeletingClient = Pick<
  RunPodManagement,
  | 'deleteEndpoint'
  | 'deleteTemplate'
  | 'deleteNetworkVolume'
  | 'listEndpoints'
  | 'listTemplates'
  | 'listNetworkVolumes'
>;

/**
 * Deletes one thing. When the answer is lost, RunPod is asked whether it is gone; the deletion is not sent again.
 *
 * @returns `was_gone` where it was not there any more: RunPod deletes a template that is bound to an endpoint with it.
 * @throws {RunPodManagementError} when it is still there, or nobody can say.
 */
export async function deleteResource(
  client: DeletingClient,
  { kind, id }: Pick<Resource, 'kind' | 'id'>,
  options: { readonly signal?: AbortSignal } = {},
): Promise<'deleted' | 'was_gone'> {
  const { remove, list } = operations(client)[kind];
  try {
    await remove(id, options);
    return 'deleted';
  } catch (error) {
    if (!RunPodManagementError.isInstance(error)) throw error;
    if (error.code === 'not_found') return 'was_gone';
    if (error.accepted !== 'unknown') throw error;
    if ((await list(options)).some((one) => one.id === id)) throw error;
    return 'deleted';
  }
}

interface Operations {
  readonly remove: RunPodManagement['deleteEndpoint'];
  readonly list: (options: { readonly signal?: AbortSignal }) => Promise<readonly { readonly id: string }[]>;
}

function operations(client: DeletingClient): Readonly<Record<Resource['kind'], Operations>> {
  return {
    endpoint: {
      remove: (...given) => client.deleteEndpoint(...given),
      list: (options) => client.listEndpoints(options),
    },
    template: {
      remove: (...given) => client.deleteTemplate(...given),
      list: (options) => client.listTemplates(options),
    },
    'network volume': {
      remove: (...given) => client.deleteNetworkVolume(...given),
      list: (options) => client.listNetworkVolumes(options),
    },
  };
}
