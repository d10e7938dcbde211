/** Which live endpoints this library made, and for which endpoint of the repository. */
import type { DesiredEndpoint } from './desired-endpoint.ts';
import type { RunPodEndpoint } from './schemas.ts';
import { MANAGED_BY, OWN_VARIABLES } from './settings.ts';

/** What the marker of a live endpoint says. */
export interface Ownership {
  readonly endpoint: string;
  readonly environment: string;
  readonly fingerprint: string | undefined;
}

/** Who a live endpoint belongs to; undefined when this library did not make it. */
export function ownershipOf(live: RunPodEndpoint): Ownership | undefined {
  const endpoint = live.env?.get(OWN_VARIABLES.endpoint);
  const environment = live.env?.get(OWN_VARIABLES.environment);
  if (live.env?.get(OWN_VARIABLES.managedBy) !== MANAGED_BY) return undefined;
  if (endpoint === undefined || environment === undefined) return undefined;
  return { endpoint, environment, fingerprint: live.env.get(OWN_VARIABLES.fingerprint) };
}

/** The variables that mark an endpoint as this library's. */
export function markerFor(desired: DesiredEndpoint): Readonly<Record<string, string>> {
  return {
    [OWN_VARIABLES.managedBy]: MANAGED_BY,
    [OWN_VARIABLES.endpoint]: desired.endpoint,
    [OWN_VARIABLES.environment]: desired.environment,
    ...(desired.fingerprint === undefined ? {} : { [OWN_VARIABLES.fingerprint]: desired.fingerprint }),
  };
}

/** Names of endpoints made by hand with FlashBoot end in ` -fb` (runpod/runpodctl pull request 261, 2026-03). */
export function plainName(name: string): string {
  return name.replace(/ -fb$/, '');
}
