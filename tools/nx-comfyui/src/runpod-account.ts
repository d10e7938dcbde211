/** How an operation reaches RunPod. */
import { RUNPOD_API_URL } from '@ryla/business';
import { LOCAL_CLOUDS_FILE, readLocalClouds } from '@ryla/business/local-clouds';
import {
  createRunPodManagement,
  MAIN_ENVIRONMENT,
  RUNPOD_MANAGEMENT_URL,
  type RunPodManagement,
} from '@ryla/runpod-management';

import { LOCAL_CLOUDS_ROOT } from './command-line.ts';
import type { DeploymentTarget } from './deployment-target.ts';
import type { Variables } from './modal-command.ts';

/** Where RunPod's logs of the last 90 days are, of workers that have ended too (docs.runpod.io/serverless/development/logs). */
const CONSOLE = 'https://console.runpod.io/serverless';

/** A RunPod account, and the environment in it. */
export interface RunPodAccount {
  /** In words. */
  readonly description: string;
  readonly apiKey: string;
  /** Address of the job API, up to `/v2`. */
  readonly apiUrl: string;
  readonly managementUrl: string;
  readonly environment: string;
  /** Where a person finds what the API does not give. */
  readonly console: string;
}

/**
 * The account of a target.
 *
 * @throws {Error} that says how to reach the target.
 */
export function runpodAccount(
  target: DeploymentTarget,
  environment: string = MAIN_ENVIRONMENT,
  env: Variables = {},
  workspaceRoot: string = LOCAL_CLOUDS_ROOT,
): RunPodAccount {
  const given = env['RUNPOD_MANAGEMENT_URL'] ?? '';
  if (target === 'local') {
    const { runpod, environment: variables } = readLocalClouds(workspaceRoot);
    const managementUrl = variables['RUNPOD_MANAGEMENT_URL'];
    if (managementUrl === undefined)
      throw new Error('The local clouds have no RunPod management API: restart `npm run clouds`.');
    const description = `local clouds (RunPod at ${runpod.apiUrl}, from ${LOCAL_CLOUDS_FILE}), environment ${environment}`;
    const place = 'what `npm run clouds` prints';
    return { ...runpod, managementUrl, environment, description, console: place };
  }
  if (given !== '')
    throw new Error(
      `--target cloud is a real RunPod account, but RUNPOD_MANAGEMENT_URL leads to ${given}. Unset RUNPOD_MANAGEMENT_URL.`,
    );
  const apiKey = env['RUNPOD_API_KEY'] ?? '';
  if (apiKey === '')
    throw new Error('--target cloud needs the environment variable RUNPOD_API_KEY: see docs/deploying.md.');
  return {
    apiKey,
    apiUrl: RUNPOD_API_URL,
    managementUrl: RUNPOD_MANAGEMENT_URL,
    environment,
    description: `RunPod (account of RUNPOD_API_KEY, environment ${environment})`,
    console: CONSOLE,
  };
}

/** A client of the account's management API. */
export function managementOf({ apiKey, managementUrl }: RunPodAccount): RunPodManagement {
  return createRunPodManagement({ apiKey, baseUrl: managementUrl });
}
