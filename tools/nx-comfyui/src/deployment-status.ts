import { z } from 'zod';

import { errorLines } from './error-lines.ts';
import { runpodLines, type RunPodStatus } from './runpod-status.ts';

/** What is live on Modal, read back from it. */
export interface ModalStatus {
  readonly app: string;
  readonly appId: string;
  /** Version of the app's history, such as `v3`. */
  readonly version: string;
  /** Fingerprint that the deployment was tagged with; null for one that was made without `nx deploy`. */
  readonly fingerprint: string | null;
  /** Abbreviated commit of the deployer's checkout; null outside a repository. */
  readonly commit: string | null;
  /** Whether that checkout had changes that are in no commit. */
  readonly uncommittedChanges: boolean;
  readonly deployedAt: string;
  readonly deployedBy: string;
  readonly containers: readonly { readonly id: string; readonly startedAt: string }[];
  /** The latest lines of its log that look like errors, oldest first. */
  readonly errors: readonly string[];
}

/** Where an endpoint is deployed; null where it is not, a text why that is not known. A cloud that was not asked is absent. */
export interface EndpointStatus {
  readonly endpoint: string;
  readonly target: string;
  readonly modal?: ModalStatus | null;
  readonly runpod?: RunPodStatus | string | null;
}

/** Runs a `modal` command and returns what it prints. */
export type AskModal = (args: readonly string[]) => Promise<string>;

/** Lines of the log that are looked through for errors. */
const LOG_LINES = 1000;

const apps = z.array(z.object({ app_id: z.string(), description: z.string(), state: z.string() }));
const history = z.array(
  z.object({
    version: z.string(),
    time_deployed: z.string().nullable(),
    deployed_by: z.string(),
    commit: z.string().nullable().optional(),
    tag: z.string().nullable().optional(),
  }),
);
const containers = z.array(z.object({ container_id: z.string(), start_time: z.string() }));

/**
 * What is live of an app, by `modal app list`, `app history`, `container list` and `app logs`; null when nothing is.
 *
 * @throws {Error} with what a command said, or when it printed something else than modal 1.6.4 does.
 */
export async function modalStatus(app: string, ask: AskModal): Promise<ModalStatus | null> {
  const listed = apps.parse(JSON.parse(await ask(['app', 'list', '--json'])));
  const live = listed.find(({ description, state }) => description === app && state === 'deployed');
  if (live === undefined) return null;
  const [versions, running, log] = await Promise.all([
    ask(['app', 'history', live.app_id, '--json']),
    ask(['container', 'list', '--app-id', live.app_id, '--json']),
    ask(['app', 'logs', live.app_id, '--tail', String(LOG_LINES), '--timestamps']),
  ]);
  const [latest] = history.parse(JSON.parse(versions));
  return {
    app,
    appId: live.app_id,
    version: latest?.version ?? 'unknown',
    fingerprint: latest?.tag ?? null,
    commit: latest?.commit?.replace('*', '') ?? null,
    uncommittedChanges: latest?.commit?.endsWith('*') ?? false,
    deployedAt: latest?.time_deployed ?? '',
    deployedBy: latest?.deployed_by ?? '',
    containers: containers
      .parse(JSON.parse(running))
      .map(({ container_id, start_time }) => ({ id: container_id, startedAt: start_time })),
    errors: errorLines(log),
  };
}

/** The status as lines for a terminal. */
export function statusLines({ endpoint, target, modal, runpod }: EndpointStatus): string[] {
  return [
    `Endpoint: ${endpoint}`,
    `Target: ${target}`,
    ...(modal === undefined ? [] : modalLines(endpoint, modal)),
    ...(runpod === undefined ? [] : runpodLines(endpoint, runpod)),
  ];
}

function modalLines(endpoint: string, status: ModalStatus | null): string[] {
  if (status === null) return [`Modal: not deployed. \`npx nx deploy ${endpoint}\` deploys it.`];
  const { version, deployedAt, deployedBy, fingerprint, commit, uncommittedChanges, errors } = status;
  const changes = uncommittedChanges ? ' and changes that are in no commit' : '';
  return [
    `Modal: ${status.app} ${version}, deployed ${deployedAt} by ${deployedBy}`,
    `  fingerprint: ${fingerprint ?? 'none: it was not deployed by nx'}`,
    `  commit: ${commit === null ? 'unknown' : `${commit}${changes}`}`,
    `  containers: ${String(status.containers.length)}`,
    ...status.containers.map(({ id, startedAt }) => `    ${id} since ${startedAt}`),
    errors.length === 0 ? '  recent errors: none' : '  recent errors:',
    ...errors.map((line) => `    ${line}`),
  ];
}
