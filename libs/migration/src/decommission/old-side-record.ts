/** What an endpoint on RunPod was, kept for the record: no value of a variable in it. */
import {
  type EnvironmentVariables,
  referencedSecret,
  type RunPodEndpoint,
  type RunPodNetworkVolume,
  type RunPodReleases,
  secretReference,
  type RunPodTemplate,
} from '@ryla/runpod-management';

import { z } from 'zod';

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
  /** Those that the endpoint may have been made from. */
  readonly templates: readonly Readonly<Record<string, unknown>>[];
  readonly releases: RunPodReleases['releases'];
  readonly stage: StageState;
  readonly traffic: Traffic;
  readonly volumes: readonly VolumeData[];
  /** What was deleted of it, the oldest first. */
  readonly deletions: readonly DeletionNote[];
}

const deletionNote = z.object({
  kind: z.enum(['endpoint', 'template', 'network volume']),
  id: z.string(),
  name: z.string(),
  by: z.string(),
  /** ISO 8601: when it was sent, and when RunPod had answered; without the second, nobody knows what came of it. */
  sentAt: z.string(),
  endedAt: z.string().optional(),
  /** `was_gone`: RunPod did not have it any more. */
  outcome: z.enum(['deleted', 'was_gone', 'failed']).optional(),
  error: z.string().optional(),
});

/** One deletion. */
export type DeletionNote = z.infer<typeof deletionNote>;

const identified = z.looseObject({ id: z.string(), name: z.string() });

/** What of a kept record is read again, to go on with deletions that were cut off. */
export const keptRecord = z.looseObject({
  recordedAt: z.string(),
  endpoint: z.string(),
  runpod: z.looseObject({
    id: z.string(),
    name: z.string(),
    networkVolumes: z.array(z.string()).default([]),
  }),
  templates: z.array(identified).default([]),
  deletions: z.array(deletionNote).default([]),
});

/** A record that was read again. */
export type KeptRecord = z.infer<typeof keptRecord>;

/** Stands for a value that is not kept. */
export const REDACTED = '(not kept)';

/** An endpoint or template without the values of its variables. */
export function redacted({
  env,
  ...rest
}: RunPodEndpoint | RunPodTemplate): Readonly<Record<string, unknown>> {
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
