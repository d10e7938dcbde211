/** Which RunPod endpoint an operation is about. */
import {
  deployedEndpoint,
  ownershipOf,
  readRunpodEndpoints,
  type RunPodEndpoint,
  type RunPodManagement,
} from '@ryla/runpod-management';
import type { EndpointConfig } from '@ryla/workflow';

import type { RunPodAccount } from './runpod-account.ts';

/** An endpoint of an account. */
export interface FoundEndpoint {
  readonly live: RunPodEndpoint;
  /** Fingerprint that it was deployed with; undefined where `ryla deploy` did not make it. */
  readonly fingerprint: string | undefined;
  /** Whether `ryla deploy` made it, and may change it. */
  readonly isOurs: boolean;
}

/** The endpoint that `ryla deploy` made in the account's environment, else the one that endpoint.json names. */
export async function findRunPodEndpoint(
  client: RunPodManagement,
  { name, providers }: EndpointConfig,
  { environment }: Pick<RunPodAccount, 'environment'>,
): Promise<FoundEndpoint | undefined> {
  const endpoints = await readRunpodEndpoints(client);
  const own = deployedEndpoint({ endpoint: name, environment }, { endpoints });
  const id = own?.id ?? providers.runpod.endpointId;
  const live = endpoints.find((each) => each.id === id);
  if (live === undefined) return undefined;
  const owner = ownershipOf(live);
  const fingerprint = owner?.fingerprint === '' ? undefined : owner?.fingerprint;
  return { live, fingerprint, isOurs: owner?.endpoint === name };
}

/**
 * The same where there must be one.
 *
 * @throws {Error} that says how to make it.
 */
export async function requireRunPodEndpoint(
  client: RunPodManagement,
  config: EndpointConfig,
  account: RunPodAccount,
): Promise<FoundEndpoint> {
  const found = await findRunPodEndpoint(client, config, account);
  if (found !== undefined) return found;
  throw new Error(
    `${config.name} is not on ${account.description}. \`npx nx deploy ${config.name} --provider runpod\` deploys it.`,
  );
}
