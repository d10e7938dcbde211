/** What is live of an endpoint on RunPod, read back from it. */
import {
  MAIN_ENVIRONMENT,
  type RunPodManagement,
  RunPodManagementError,
  type RunPodWorkers,
} from '@ryla/runpod-management';
import type { EndpointConfig } from '@ryla/workflow';
import { z } from 'zod';

import { messageOf } from './command-line.ts';
import { errorLines } from './error-lines.ts';
import { managementOf, type RunPodAccount } from './runpod-account.ts';
import { findRunPodEndpoint, type FoundEndpoint } from './runpod-endpoint.ts';

/** A RunPod endpoint by its job API's health, and by the management API. */
export interface RunPodStatus {
  readonly endpointId: string;
  readonly jobs: Counts;
  readonly workers: Counts;
  /** Null for an endpoint that the management API does not have; a text why that is not known. */
  readonly deployment: RunPodDeployment | string | null;
}

/** What the management API says of it. */
export interface RunPodDeployment {
  readonly name: string;
  readonly image: string | null;
  /** Of the endpoint's settings, such as `v3`. */
  readonly version: string | null;
  /** When these settings were made, ISO 8601. */
  readonly releasedAt: string | null;
  /** Null for an endpoint that was not made by `ryla deploy`. */
  readonly fingerprint: string | null;
  /** Abbreviated commit that was deployed. */
  readonly commit: string | null;
  readonly workersMin: number;
  readonly workersMax: number;
  /** The active ones. */
  readonly workers: readonly {
    readonly id: string;
    readonly state: string;
    readonly gpu: string | null;
    readonly startedAt: string | null;
    /** Whether it runs an older version. */
    readonly isStale: boolean;
  }[];
  /** The latest lines of active workers that look like errors, oldest first. */
  readonly errors: readonly string[];
}

type Counts = Readonly<Record<string, number>>;

/** Variable in which `ryla deploy` records the commit. */
const COMMIT = 'RYLA_COMMIT';

/** Lines of each worker, and workers, that are looked through for errors. */
const LOG_LINES = 1_000;
const WORKERS_READ = 8;

/** Milliseconds without a line after which a worker's past counts as read: it comes at once, or not at all. */
const QUIET_MS = 1_000;

const HEALTH_MS = 20_000;
const counts = z.record(z.string(), z.number());
const health = z.object({ jobs: counts, workers: counts });

/**
 * An endpoint's jobs, workers and release; null where there is none.
 *
 * @throws {Error} when RunPod refuses the key or does not answer.
 */
export async function runpodStatus(
  config: EndpointConfig,
  account: RunPodAccount,
  fallbackId?: string,
): Promise<RunPodStatus | null> {
  await using client = managementOf(account);
  const { endpointId: named } = config.providers.runpod;
  const isMain = account.environment === MAIN_ENVIRONMENT;
  const found = await findRunPodEndpoint(client, config, account).catch((error: unknown) => {
    // A key may be allowed to run jobs and nothing else.
    if (named === undefined || !RunPodManagementError.isInstance(error)) throw error;
    return error;
  });
  const id =
    found instanceof Error ? named : (found?.live.id ?? (isMain ? (named ?? fallbackId) : undefined));
  if (id === undefined) return null;
  const [healthOfIt, deployment] = await Promise.all([
    healthOf(id, account),
    found instanceof Error ? found.message : found === undefined ? null : deploymentOf(client, found),
  ]);
  return healthOfIt === null ? null : { endpointId: id, ...healthOfIt, deployment };
}

/**
 * An endpoint's jobs and workers by its job API; null where there is none.
 *
 * @throws {Error} when RunPod refuses the key or does not answer.
 */
export async function healthOf(
  endpointId: string,
  { apiUrl, apiKey }: RunPodAccount,
): Promise<z.infer<typeof health> | null> {
  const response = await fetch(`${apiUrl}/${encodeURIComponent(endpointId)}/health`, {
    headers: { authorization: `Bearer ${apiKey}` },
    signal: AbortSignal.timeout(HEALTH_MS),
  });
  if (response.status === 404) return null;
  if (!response.ok)
    throw new Error(
      `RunPod answered ${String(response.status)} to the health of endpoint ${endpointId}: is RUNPOD_API_KEY of its account?`,
    );
  return health.parse(await response.json());
}

async function deploymentOf(
  client: RunPodManagement,
  { live, fingerprint }: FoundEndpoint,
): Promise<RunPodDeployment> {
  const [{ endpointVersion, releases }, { workers }] = await Promise.all([
    client.listReleases(live.id),
    client.listWorkers(live.id),
  ]);
  const version = endpointVersion ?? releases[0]?.version ?? null;
  return {
    name: live.name,
    image: live.image ?? null,
    version: version === null ? null : `v${String(version)}`,
    releasedAt: releases[0]?.createdAt ?? null,
    fingerprint: fingerprint ?? null,
    commit: live.env?.get(COMMIT) ?? null,
    workersMin: live.workers.min,
    workersMax: live.workers.max,
    workers: workers.map(({ id, status, gpuTypeId, startedAt, isStale }) => ({
      id,
      state: status.toLowerCase(),
      gpu: gpuTypeId ?? null,
      startedAt: startedAt ?? null,
      isStale,
    })),
    errors: await errorsOf(client, live.id, workers),
  };
}

async function errorsOf(
  client: RunPodManagement,
  endpointId: string,
  workers: RunPodWorkers['workers'],
): Promise<readonly string[]> {
  const logs = await Promise.all(
    workers.slice(0, WORKERS_READ).map(async ({ id }) => {
      const lines: string[] = [];
      try {
        for await (const { at, line } of client.workerLog(endpointId, id, {
          tail: LOG_LINES,
          quietMs: QUIET_MS,
        }))
          lines.push(`${at} ${line}`);
      } catch (error) {
        // One that has ended meanwhile has no log; anything else is said in its place.
        if (!RunPodManagementError.isInstance(error)) throw error;
        if (error.code !== 'not_found') lines.push(`error: the log of ${id}: ${messageOf(error)}`);
      }
      return lines;
    }),
  );
  return errorLines(logs.flat().sort().join('\n'));
}

/** The same as lines for a terminal. */
export function runpodLines(endpoint: string, status: RunPodStatus | string | null): string[] {
  if (status === null)
    return [`RunPod: not deployed. \`npx nx deploy ${endpoint} --provider runpod\` deploys it.`];
  if (typeof status === 'string') return [`RunPod: ${status}`];
  const { endpointId, jobs, workers, deployment } = status;
  const failed = jobs['failed'] ?? 0;
  return [
    ...(deployment === null || typeof deployment === 'string'
      ? [
          `RunPod: ${endpointId}`,
          ...(deployment === null ? [] : [`  deployment: not known: ${deployment}`]),
          `  workers: ${list(workers)}`,
        ]
      : deploymentLines(endpointId, deployment)),
    `  jobs: ${list(jobs)}`,
    ...(failed === 0
      ? []
      : [
          '  failed jobs: RunPod counts them and lists none. `npx ryla jobs --status failed` has those that comfyui-service sent.',
        ]),
  ];
}

function deploymentLines(endpointId: string, deployment: RunPodDeployment): string[] {
  const { name, version, releasedAt, fingerprint, commit, image, workers, errors } = deployment;
  const stopped = deployment.workersMax === 0 ? ', stopped' : '';
  return [
    `RunPod: ${name} (${endpointId}) ${version ?? ''}${stopped}, released ${releasedAt ?? 'at an unknown time'}`,
    `  fingerprint: ${fingerprint ?? 'none: it was not deployed by ryla'}`,
    `  commit: ${commit ?? 'unknown'}`,
    `  image: ${image ?? 'unknown'}`,
    `  workers: ${String(workers.length)} of ${String(deployment.workersMin)} to ${String(deployment.workersMax)}`,
    ...workers.map(
      ({ id, state, gpu, startedAt, isStale }) =>
        `    ${id} ${state}${gpu === null ? '' : ` on ${gpu}`}${startedAt === null ? '' : ` since ${startedAt}`}${isStale ? ', of an older release' : ''}`,
    ),
    errors.length === 0
      ? '  recent errors: none in the logs of active workers'
      : '  recent errors, of active workers:',
    ...errors.map((line) => `    ${line}`),
  ];
}

function list(values: Counts): string {
  return Object.entries(values)
    .map(([name, count]) => `${String(count)} ${name}`)
    .join(', ');
}
