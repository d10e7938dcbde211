/** Taking over an endpoint that was made by hand: only the marker is added; what it runs and how stays until the next deploy. */
import { z } from 'zod';

import type { CallOptions, RunPodManagement } from './client.ts';
import type { DesiredEndpoint } from './desired-endpoint.ts';
import type { FieldChange } from './endpoint-diff.ts';
import type { LiveState } from './live-state.ts';
import { markerFor, ownershipOf, plainName } from './ownership.ts';
import { planEndpoint } from './plan.ts';
import { formerSettings } from './rollback.ts';
import { RunPodManagementError } from './runpod-error.ts';
import { endpoint as endpointSchema, type RunPodEndpoint } from './schemas.ts';

/** An endpoint that could be, or is, taken over. Safe to print: no values of variables. */
export interface Adoption {
  /** Name in the repository. */
  readonly endpoint: string;
  readonly environment: string;
  readonly id: string;
  /** Whether it is the repository's already. */
  readonly isManaged: boolean;
  /** What a deploy of endpoint.json would change, but for the image. */
  readonly differences: readonly FieldChange[];
  /** Variables that adoption adds. */
  readonly marker: Readonly<Record<string, string>>;
  /** As it is now. Prints without values of variables. */
  readonly live: RunPodEndpoint;
}

/** The endpoint made by hand that stands for one of the repository: by its id, else by its name; undefined where there is none. */
export function unmanagedEndpoint(
  desired: Pick<DesiredEndpoint, 'endpointId' | 'name'>,
  { endpoints }: Pick<LiveState, 'endpoints'>,
): RunPodEndpoint | undefined {
  const { endpointId, name } = desired;
  return endpoints.find(
    (one) =>
      ownershipOf(one) === undefined &&
      (endpointId === undefined ? plainName(one.name) === name : one.id === endpointId),
  );
}

/**
 * What taking over would mean; undefined where nothing is live for it. Give `desired` the image that is live (`keepImage`).
 *
 * @throws {RunPodManagementError} as `planRunpod` does: for another owner, several candidates, or what cannot be managed.
 */
export function planAdoption(desired: DesiredEndpoint, live: LiveState): Adoption | undefined {
  const entry = planEndpoint(desired, live, true);
  if (!('id' in entry)) return undefined;
  const found = live.endpoints.find(({ id }) => id === entry.id);
  if (found === undefined) return undefined;
  const { fingerprint: _nothingOfItIsDeployed, ...unmarked } = desired;
  return {
    endpoint: desired.endpoint,
    environment: desired.environment,
    id: found.id,
    isManaged: ownershipOf(found) !== undefined,
    differences: 'changes' in entry ? entry.changes.filter(({ field }) => !field.startsWith(OWN)) : [],
    marker: markerFor(unmarked),
    live: found,
  };
}

/** Variables that are ours begin so. */
const OWN = 'env.RYLA_';

/**
 * Adds the marker, and nothing else. RunPod makes a release of it: workers are replaced by others of the same image.
 *
 * @throws {RunPodManagementError} `plan_stale` when it is not as it was planned any more.
 */
export async function adoptRunpod(
  { endpoint, environment, id, marker, live }: Adoption,
  client: Pick<RunPodManagement, 'getEndpoint' | 'updateEndpoint'>,
  options: CallOptions = {},
): Promise<'adopted' | 'unchanged'> {
  const now = await client.getEndpoint(id, options);
  if (isOf(now, { endpoint, environment })) return 'unchanged';
  if (JSON.stringify(formerSettings(now)) !== JSON.stringify(formerSettings(live)))
    throw new RunPodManagementError('plan_stale', `RunPod's ${id} has changed since it was looked at.`, {
      endpoint,
      accepted: 'no',
      hint: 'Look again.',
    });
  try {
    await client.updateEndpoint(id, { env: { ...now.env?.reveal(), ...marker } }, options);
  } catch (error) {
    if (!RunPodManagementError.isInstance(error) || error.accepted !== 'unknown') throw error;
    // The answer was lost: whether it was done is looked up, not sent again.
    if (!isOf(await client.getEndpoint(id, options), { endpoint, environment })) throw error;
  }
  return 'adopted';
}

/** Gives an endpoint its settings and variables of before; without a marker among them it is nobody's again. */
export async function restoreRunpod(
  former: RunPodEndpoint,
  client: Pick<RunPodManagement, 'updateEndpoint'>,
  options: CallOptions = {},
): Promise<RunPodEndpoint> {
  return await client.updateEndpoint(former.id, formerSettings(former), options);
}

/** An endpoint as JSON with the values of its variables, which may be secrets: for {@link parseEndpoint}, and nobody to see. */
export function secretDocument(of: RunPodEndpoint): Readonly<Record<string, unknown>> {
  return { ...of, ...(of.env === undefined ? {} : { env: of.env.reveal() }) };
}

/**
 * Reads what {@link secretDocument} made.
 *
 * @throws {z.ZodError} that names fields, not values.
 */
export function parseEndpoint(document: unknown): RunPodEndpoint {
  return z.parse(endpointSchema, document);
}

function isOf(
  one: RunPodEndpoint,
  { endpoint, environment }: { readonly endpoint: string; readonly environment: string },
): boolean {
  const owner = ownershipOf(one);
  return owner?.endpoint === endpoint && owner.environment === environment;
}
