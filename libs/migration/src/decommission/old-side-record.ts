/** What an endpoint on RunPod was, kept for the record: no value of a variable in it. */
import {
  type EnvironmentVariables,
  referencedSecret,
  type RunPodEndpoint,
  type RunPodNetworkVolume,
  type RunPodReleases,
  secretReference,
} from '@ryla/runpod-management';

import type { StageState } from '../stages/stage-state.ts';
import type { Traffic } from './traffic.ts';
import type { VolumeData } from './volume-data.ts';

/** The JSON that is kept. */
export interface OldSideRecord {
  readonly version: 1;
  /** ISO 8601. */
  readonly recordedAt: string;
  readonly endpoint: string;
  /** As the management API has it; of variables the names, and references to secrets. */
  readonly runpod: Readonly<Record<string, unknown>>;
  readonly networkVolumes: readonly RunPodNetworkVolume[];
  readonly releases: RunPodReleases['releases'];
  readonly stage: StageState;
  readonly traffic: Traffic;
  readonly volumes: readonly VolumeData[];
}

/** Stands for a value that is not kept. */
export const REDACTED = '(not kept)';

/** An endpoint without the values of its variables. */
export function redacted({ env, ...rest }: RunPodEndpoint): Readonly<Record<string, unknown>> {
  return { ...rest, ...(env === undefined ? {} : { env: namesOf(env) }) };
}

function namesOf(env: EnvironmentVariables): Readonly<Record<string, string>> {
  return Object.fromEntries(
    env.names().map((name) => {
      const secret = referencedSecret(env.get(name) ?? '');
      return [name, secret === undefined ? REDACTED : secretReference(secret)];
    }),
  );
}
