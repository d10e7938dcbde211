import { type BackendKind, backendName, type ConfiguredService } from '@ryla/business/config';

/**
 * Throws the reason where a new job could fall to a deployment that cannot be used, by the routes that are in effect.
 *
 * @throws {ComfyUIServiceError} what `createServiceFromConfig` said of that deployment.
 */
export function refuseUnusable(
  { service, unusable }: ConfiguredService,
  endpoint: string,
  chosen: BackendKind | undefined,
): void {
  const route = service.routes.table.endpoints?.[endpoint] ?? [];
  const shared = route.filter(({ weight }) => weight > 0).map(({ backend }) => backend);
  for (const backend of chosen === undefined ? shared : [backendName(chosen, endpoint)]) {
    const reason = unusable.get(backend);
    if (reason !== undefined) throw reason.within({ endpoint, backend });
  }
}
