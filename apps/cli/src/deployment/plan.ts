/** What a deploy would do: candidates, their fingerprints, what is live, the difference. Changes nothing. */
import path from 'node:path';

import { type EndpointDefinition, WorkflowError } from '@ryla/workflow';
import { loadEndpoint } from '@ryla/workflow/node';

import {
  candidatesOf,
  type Deleted,
  deletedEndpoints,
  type EndpointFolder,
  type Selection,
} from './candidates.ts';
import { createReasonFinder, type ReasonFinder } from './change-reasons.ts';
import type { Cloud, LiveDeployment, Shipment } from './cloud.ts';
import type { PlanEntry, Reason } from './deployment-document.ts';
import { inParallel } from './in-parallel.ts';
import type { InspectionProcess } from './inspection-process.ts';
import {
  FINGERPRINT_TARGET,
  type Inspection,
  inspectWorkspace,
  type InspectionRequest,
} from './nx-inspection.ts';

/** What a plan is made from. */
export interface PlanRequest {
  readonly place: EndpointFolder;
  readonly selection: Selection;
  readonly cloud: Cloud;
  /** Commit that is checked out; null outside a repository. */
  readonly commit: string | null;
  readonly parallel: number;
  /** Whether deployments are tried: one that was made and never tried is then deployed again. */
  readonly smoke: boolean;
  /** The process that asks Nx, where it was started before. */
  readonly inspection?: InspectionProcess | undefined;
  /** Asks Nx; the real one without it. */
  readonly inspect?: (
    root: string,
    request: InspectionRequest,
    started?: InspectionProcess,
  ) => Promise<Inspection>;
}

/** An entry, and what it would deploy; undefined for one that deploys nothing. */
export interface Planned {
  readonly entry: PlanEntry;
  readonly shipment: Shipment | undefined;
}

/** Plans. A candidate of which something cannot be found out is `unknown`, and stops no other. */
export async function makePlan(request: PlanRequest): Promise<Planned[]> {
  const { place, selection, cloud, parallel, inspection } = request;
  const inspect = request.inspect ?? inspectWorkspace;
  const wanted = candidatesOf(selection, place);
  const [found, managed] = await Promise.all([
    inspect(
      place.root,
      {
        endpoints: wanted,
        target: FINGERPRINT_TARGET[place.provider],
        range: rangeOf(selection),
      },
      inspection,
    ),
    // Named endpoints need no list of what else is live.
    selection.kind === 'named' ? [] : cloud.managed(),
  ]);
  const candidates = wanted.filter((name) => found.affected === null || found.affected.includes(name));
  const finder = createReasonFinder(place.root, selection.kind === 'affected' ? selection.range.base : null);
  const planned = await inParallel(candidates, parallel, (name) =>
    planEndpoint(name, found.fingerprints[name], finder, request),
  );
  const deleted = await deletedEndpoints(selection, place, managed);
  const removals = await inParallel(deleted, parallel, (one) => planRemoval(one, request));
  return [...planned, ...removals.flat()];
}

function rangeOf(selection: Selection): InspectionRequest['range'] {
  if (selection.kind !== 'affected' || selection.range.base === null) return null;
  const { base, head, headIsNamed } = selection.range;
  return { base, ...(headIsNamed ? { head } : {}) };
}

async function planEndpoint(
  name: string,
  found: Inspection['fingerprints'][string] | undefined,
  finder: ReasonFinder,
  { place, cloud, commit, smoke }: PlanRequest,
): Promise<Planned> {
  const about = { endpoint: name, provider: cloud.provider, environment: cloud.environment };
  let live: LiveDeployment | null = null;
  try {
    if (found === undefined)
      throw new Error(`Nx has no fingerprint of it. \`npx nx show project ${name}\` shows what Nx knows.`);
    const endpoint = checked(path.join(place.folder, name));
    const shipment = { endpoint, fingerprint: found.fingerprint, commit };
    live = await cloud.live(name);
    const foreign = live === null ? await cloud.foreign?.(shipment) : undefined;
    if (foreign !== undefined)
      return {
        entry: { ...about, action: 'adopt', ...hashes(found.fingerprint, live), reasons: foreign },
        shipment,
      };
    const { action, reasons } = await difference(shipment, live, found.files, finder, { cloud, smoke });
    return { entry: { ...about, action, ...hashes(found.fingerprint, live), reasons }, shipment };
  } catch (error) {
    const reasons = [{ input: 'plan', why: error instanceof Error ? error.message : String(error) }];
    const entry = {
      ...about,
      action: 'unknown',
      ...hashes(found?.fingerprint ?? null, live),
      reasons,
    } as const;
    return { entry, shipment: undefined };
  }
}

async function difference(
  shipment: Shipment,
  live: LiveDeployment | null,
  files: readonly string[],
  finder: ReasonFinder,
  { cloud, smoke }: Pick<PlanRequest, 'cloud' | 'smoke'>,
): Promise<{ readonly action: 'create' | 'update' | 'unchanged'; readonly reasons: readonly Reason[] }> {
  if (live === null)
    return { action: 'create', reasons: [{ input: 'live deployment', why: 'there is none' }] };
  if (live.fingerprint !== shipment.fingerprint) {
    const reasons = await finder.reasons(live, shipment.fingerprint, files);
    // Where nothing of ours was deployed yet, its settings tell more than two hashes.
    return {
      action: 'update',
      reasons: live.fingerprint === null ? [...reasons, ...(await cloud.drift(shipment))] : reasons,
    };
  }
  if (smoke && live.untried === true) return { action: 'update', reasons: [UNTRIED] };
  const reasons = await cloud.drift(shipment);
  return { action: reasons.length === 0 ? 'unchanged' : 'update', reasons };
}

/** Going back from it leads past the version that nobody has tried. */
const UNTRIED: Reason = {
  input: 'smoke job',
  why: 'what is live was never tried: the run that deployed it was cut off',
};

/** Only what ryla deployed, or the repository had, is ours to remove. */
async function planRemoval({ name, wasInBase }: Deleted, { cloud }: PlanRequest): Promise<Planned[]> {
  const live = await cloud.live(name);
  if (live === null || (live.fingerprint === null && !wasInBase)) return [];
  const entry: PlanEntry = {
    endpoint: name,
    provider: cloud.provider,
    environment: cloud.environment,
    action: 'undeploy',
    ...hashes(null, live),
    reasons: [
      { input: 'repository', why: `has no endpoint ${name} for ${cloud.provider}; it is still live` },
    ],
  };
  return [{ entry, shipment: undefined }];
}

function hashes(
  fingerprint: string | null,
  live: LiveDeployment | null,
): Pick<PlanEntry, 'fingerprint' | 'liveFingerprint' | 'liveCommit' | 'liveVersion'> {
  return {
    fingerprint,
    liveFingerprint: live?.fingerprint ?? null,
    liveCommit: live?.commit ?? null,
    liveVersion: live?.version ?? null,
  };
}

function checked(directory: string): EndpointDefinition {
  try {
    return loadEndpoint(directory);
  } catch (error) {
    if (!WorkflowError.isInstance(error)) throw error;
    throw new Error(`${error.message}\n\`npx nx validate ${path.basename(directory)}\` checks it.`, {
      cause: error,
    });
  }
}
