/** What has to change so that RunPod is as the repository says. Pure: everything live is handed in. */
import type { DesiredEndpoint } from './desired-endpoint.ts';
import { creationChanges, differenceOf, type FieldChange } from './endpoint-diff.ts';
import type { LiveState } from './live-state.ts';
import { type Ownership, ownershipOf, plainName } from './ownership.ts';
import { resolveEndpoint } from './resolved-endpoint.ts';
import { RunPodManagementError } from './runpod-error.ts';
import type { RunPodEndpoint } from './schemas.ts';
import { MANAGED_BY, OWN_VARIABLES } from './settings.ts';

interface Entry {
  /** Name in the repository. */
  readonly endpoint: string;
  readonly environment: string;
  /** Name on RunPod. */
  readonly name: string;
}

/**
 * What happens to one endpoint.
 *
 * `because` of an update: `changed` the repository, `drift` somebody changed RunPod by hand (the fingerprints are equal),
 * `adopted` an endpoint that was made by hand becomes the repository's.
 */
export type PlanEntry =
  | (Entry & {
      readonly action: 'create';
      readonly changes: readonly FieldChange[];
      readonly desired: DesiredEndpoint;
      readonly notes: readonly string[];
    })
  | (Entry & {
      readonly action: 'update';
      readonly id: string;
      readonly because: 'changed' | 'drift' | 'adopted';
      readonly changes: readonly FieldChange[];
      readonly desired: DesiredEndpoint;
      readonly notes: readonly string[];
    })
  | (Entry & {
      readonly action: 'none';
      readonly id: string;
      readonly desired: DesiredEndpoint;
      readonly notes: readonly string[];
    })
  | (Entry & { readonly action: 'delete'; readonly id: string });

/** What has to be done, endpoint by endpoint. Safe to print: no values of variables but references and our own. */
export interface RunPodPlan {
  readonly entries: readonly PlanEntry[];
  /** Names in the repository of endpoints that may be adopted. */
  readonly adopt: readonly string[];
}

/** Options of {@link planRunpod}. */
export interface PlanOptions {
  /**
   * Endpoints of the repository for which an endpoint made by hand may be taken over: one of the same name, or the one whose id
   * endpoint.json gives. Its variables that endpoint.json does not name are then removed.
   */
  readonly adopt?: readonly string[];
}

/**
 * Compares what shall be with what is.
 *
 * @throws {RunPodManagementError} `unmanaged_endpoint` (made by hand, or for another environment), `ambiguous_endpoint`,
 *   `endpoint_not_found`, `immutable_field`, and what {@link resolveEndpoint} throws.
 */
export function planRunpod(
  desired: readonly DesiredEndpoint[],
  live: LiveState,
  { adopt = [] }: PlanOptions = {},
): RunPodPlan {
  checkDistinct(desired);
  return { entries: desired.map((one) => planEndpoint(one, live, adopt.includes(one.endpoint))), adopt };
}

/**
 * A plan that removes an endpoint of the repository's from RunPod; empty when it is not there.
 *
 * @throws {RunPodManagementError} `ambiguous_endpoint` when several carry its marker.
 */
export function planRunpodRemoval(
  target: { readonly endpoint: string; readonly environment: string },
  live: LiveState,
): RunPodPlan {
  const found = managed(target, live);
  return {
    adopt: [],
    entries: found === undefined ? [] : [{ ...target, action: 'delete', id: found.id, name: found.name }],
  };
}

/** Managed endpoints of an environment that the repository does not know any more. */
export function orphansOf(
  live: LiveState,
  environment: string,
  known: readonly string[],
): readonly {
  readonly endpoint: string;
  readonly environment: string;
  readonly id: string;
  readonly name: string;
}[] {
  return live.endpoints.flatMap((one) => {
    const owner = ownershipOf(one);
    if (owner?.environment !== environment || known.includes(owner.endpoint)) return [];
    return [{ endpoint: owner.endpoint, environment, id: one.id, name: one.name }];
  });
}

/** The live endpoint with the marker of an endpoint of the repository: its id and what it was deployed from. */
export function deployedEndpoint(
  target: { readonly endpoint: string; readonly environment: string },
  live: LiveState,
): ({ readonly id: string; readonly name: string } & Ownership) | undefined {
  const found = managed(target, live);
  const owner = found === undefined ? undefined : ownershipOf(found);
  return found === undefined || owner === undefined
    ? undefined
    : { id: found.id, name: found.name, ...owner };
}

/** Whether a plan would send anything that changes RunPod. */
export function hasChanges(plan: RunPodPlan): boolean {
  return plan.entries.some(({ action }) => action !== 'none');
}

/** The entry for one endpoint; throws as {@link planRunpod} does. */
export function planEndpoint(desired: DesiredEndpoint, live: LiveState, mayAdopt: boolean): PlanEntry {
  const { endpoint, environment, name, notes } = desired;
  const wanted = resolveEndpoint(desired, live);
  const found = findLive(desired, live, mayAdopt);
  const entry = { endpoint, environment, name, desired, notes };
  if (found === undefined) return { ...entry, action: 'create', changes: creationChanges(wanted) };
  checkImmutable(desired, found);
  const { changes } = differenceOf(wanted, found);
  if (changes.length === 0) return { ...entry, action: 'none', id: found.id };
  return { ...entry, action: 'update', id: found.id, changes, because: causeOf(desired, found) };
}

function causeOf(desired: DesiredEndpoint, found: RunPodEndpoint): 'changed' | 'drift' | 'adopted' {
  const owner = ownershipOf(found);
  if (owner === undefined) return 'adopted';
  return desired.fingerprint !== undefined && desired.fingerprint === owner.fingerprint ? 'drift' : 'changed';
}

function findLive(desired: DesiredEndpoint, live: LiveState, mayAdopt: boolean): RunPodEndpoint | undefined {
  const ours = managed(desired, live);
  if (desired.endpointId !== undefined) return findById(desired, desired.endpointId, ours, live, mayAdopt);
  if (ours !== undefined) return ours;
  const [sameName, ...more] = live.endpoints.filter(({ name }) => plainName(name) === desired.name);
  if (sameName === undefined) return undefined;
  if (more.length > 0) throw ambiguous(desired, [sameName, ...more]);
  if (mayAdopt && ownershipOf(sameName) === undefined) return sameName;
  throw unmanaged(desired, sameName);
}

function findById(
  desired: DesiredEndpoint,
  id: string,
  ours: RunPodEndpoint | undefined,
  live: LiveState,
  mayAdopt: boolean,
): RunPodEndpoint {
  if (ours !== undefined && ours.id !== id) throw ambiguous(desired, [ours], `endpoint.json names ${id}`);
  const found = ours ?? live.endpoints.find((one) => one.id === id);
  if (found === undefined)
    throw new RunPodManagementError(
      'endpoint_not_found',
      `endpoint.json of ${desired.endpoint} names the RunPod endpoint ${id}, which this account does not have.`,
      {
        endpoint: desired.endpoint,
        hint: 'Remove "endpointId" to have a new one made, or use the API key of the account that has it.',
      },
    );
  if (ours !== undefined || (mayAdopt && ownershipOf(found) === undefined)) return found;
  throw unmanaged(desired, found);
}

function managed(
  target: { readonly endpoint: string; readonly environment: string },
  live: LiveState,
): RunPodEndpoint | undefined {
  const found = live.endpoints.filter((one) => {
    const owner = ownershipOf(one);
    return owner?.endpoint === target.endpoint && owner.environment === target.environment;
  });
  if (found.length > 1) throw ambiguous(target, found);
  return found[0];
}

function ambiguous(
  { endpoint, environment }: { readonly endpoint: string; readonly environment: string },
  found: readonly RunPodEndpoint[],
  and = '',
): RunPodManagementError {
  const list = found.map(({ id, name, createdAt }) => `${id} (${name}, made ${createdAt})`).join(' and ');
  return new RunPodManagementError(
    'ambiguous_endpoint',
    `RunPod has ${list} for ${endpoint} in ${environment}${and === '' ? '' : `, but ${and}`}.`,
    { endpoint, hint: "Delete the one without jobs in RunPod's console, then run this again." },
  );
}

function unmanaged(desired: DesiredEndpoint, found: RunPodEndpoint): RunPodManagementError {
  const owner = ownershipOf(found);
  const what = `The RunPod endpoint ${plainName(found.name)} (${found.id})`;
  if (owner !== undefined)
    return new RunPodManagementError(
      'unmanaged_endpoint',
      `${what} belongs to ${owner.endpoint} in the environment ${owner.environment}, not to ${desired.endpoint} in ${desired.environment}.`,
      { endpoint: desired.endpoint, hint: 'Give this one another "name" below "providers": {"runpod": …}.' },
    );
  return new RunPodManagementError(
    'unmanaged_endpoint',
    `${what} was not made by this tool (no ${OWN_VARIABLES.managedBy}=${MANAGED_BY}), and is left alone.`,
    {
      endpoint: desired.endpoint,
      hint: `\`ryla adopt ${desired.endpoint}\` shows what differs and takes it over as it is; adopt: ["${desired.endpoint}"] of planRunpod overwrites its settings and variables at once. Or choose another "name" below "providers": {"runpod": …}.`,
    },
  );
}

function checkImmutable(desired: DesiredEndpoint, found: RunPodEndpoint): void {
  const problem =
    found.type !== undefined && found.type !== 'QUEUE'
      ? `is of type ${found.type}, and jobs need a QUEUE endpoint`
      : found.gpu === null || found.gpu === undefined
        ? 'has no GPU'
        : undefined;
  if (problem === undefined) return;
  throw new RunPodManagementError(
    'immutable_field',
    `The RunPod endpoint ${found.name} (${found.id}) ${problem}; RunPod cannot change that.`,
    { endpoint: desired.endpoint, hint: 'Choose another "name", or delete it in RunPod\'s console.' },
  );
}

function checkDistinct(desired: readonly DesiredEndpoint[]): void {
  const names = new Map<string, string>();
  for (const { name, endpoint } of desired) {
    const other = names.get(name);
    if (other !== undefined)
      throw new RunPodManagementError(
        'invalid_settings',
        `${other} and ${endpoint} would both be the RunPod endpoint ${name}.`,
        { endpoint, hint: 'Give one of them another "name" below "providers": {"runpod": …}.' },
      );
    names.set(name, endpoint);
  }
}
