import {
  backendName,
  type ConfiguredService,
  PROVIDERS,
  type Provider,
  sharesOf,
} from '@ryla/business/config';

import type { Workspace } from './workspace.ts';

/**
 * Throws the reason where a new job could fall to a deployment that cannot be used.
 *
 * @throws {ComfyUIServiceError} what `createServiceFromConfig` said of that deployment.
 */
export function refuseUnusable(
  { config }: Pick<Workspace, 'config'>,
  { unusable }: Pick<ConfiguredService, 'unusable'>,
  endpoint: string,
  chosen: Provider | undefined,
): void {
  const shares = sharesOf(config, endpoint);
  const providers = chosen === undefined ? PROVIDERS.filter((provider) => shares[provider] > 0) : [chosen];
  for (const provider of providers) {
    const backend = backendName(provider, endpoint);
    const reason = unusable.get(backend);
    if (reason !== undefined) throw reason.within({ endpoint, backend });
  }
}
