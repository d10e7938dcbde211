/** What a deployment to RunPod records of itself, in variables of the endpoint. */
import { type FieldChange, OWN_VARIABLES, ownershipOf, type RunPodEndpoint } from '@ryla/runpod-management';

import type { LiveDeployment, Shipment } from './cloud.ts';

/** Variables of an endpoint in which a deployment is recorded, besides those of libs/runpod-management. */
export const RECORD = {
  commit: 'RYLA_COMMIT',
  previousImage: 'RYLA_PREVIOUS_IMAGE',
  previousFingerprint: 'RYLA_PREVIOUS_FINGERPRINT',
  /** The image that an adopted endpoint had: nobody built it from this repository, whatever the fingerprint says. */
  foreignImage: 'RYLA_FOREIGN_IMAGE',
} as const;

/** The variable of libs/runpod-management that a rollback sets back. */
export const FINGERPRINT = OWN_VARIABLES.fingerprint;

/** The record of a deployment in place of what is live. */
export function recordOf(
  shipment: Shipment,
  found: RunPodEndpoint | undefined,
  sameCode: boolean,
): Readonly<Record<string, string>> {
  const kept = (name: string): string | undefined => found?.env?.get(name);
  const record: Readonly<Record<string, string | undefined>> = sameCode
    ? {
        [RECORD.commit]: kept(RECORD.commit),
        [RECORD.previousImage]: kept(RECORD.previousImage),
        [RECORD.previousFingerprint]: kept(RECORD.previousFingerprint),
      }
    : {
        [RECORD.commit]: shipment.commit?.slice(0, 7),
        [RECORD.previousImage]: found?.image,
        [RECORD.previousFingerprint]: kept(FINGERPRINT),
      };
  const foreign = found !== undefined && hasForeignImage(found) ? found.image : undefined;
  const whole = { ...record, [RECORD.foreignImage]: kept(RECORD.foreignImage) ?? foreign };
  return Object.fromEntries(
    Object.entries(whole).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

/** Whether what runs was there before ryla: only its settings may be the repository's. */
export function hasForeignImage(found: RunPodEndpoint): boolean {
  const owner = ownershipOf(found);
  if (owner === undefined || found.image === undefined) return false;
  return emptyToNull(owner.fingerprint) === null || found.env?.get(RECORD.foreignImage) === found.image;
}

/** What a deployment records of itself differs from one to the next. */
export const OWN_FIELDS: readonly string[] = [...Object.values(RECORD), FINGERPRINT].map(
  (name) => `env.${name}`,
);

/** A difference as a reason to deploy. */
export function reasonOf({ field, from, to }: FieldChange): { readonly input: string; readonly why: string } {
  return { input: field, why: `is ${from} on RunPod, ${to} in the repository` };
}

/** The image says which version is live: RunPod counts releases for changes that are none of ours too. */
export function liveOf(found: RunPodEndpoint): LiveDeployment {
  return {
    // Empty after a rollback to what ryla had not deployed.
    fingerprint: emptyToNull(ownershipOf(found)?.fingerprint),
    commit: found.env?.get(RECORD.commit) ?? null,
    version: found.image ?? null,
  };
}

function emptyToNull(text: string | undefined): string | null {
  return text === undefined || text === '' ? null : text;
}
