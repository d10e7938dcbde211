import { ComfyUIServiceError, type ComfyUIService, hasEnded, type JobRecord } from '@ryla/business';
import { openStore } from '@ryla/business/config';

import { dollars, duration, metricsText } from './output.ts';
import type { Workspace } from './workspace.ts';

/** What is stored of a job; reads the store only. */
export async function storedJob(workspace: Workspace, id: string): Promise<JobRecord> {
  await using store = await openStore(workspace);
  const record = await store.get(id);
  if (record !== undefined) return record;
  throw new ComfyUIServiceError('unknown_job', `There is no job ${id} in the store.`, {
    jobId: id,
    hint: `\`ryla jobs\` lists those of the target ${workspace.target}.`,
  });
}

/** The service, where it can reach the backend that has the job. */
export async function serviceFor(workspace: Workspace, job: JobRecord): Promise<ComfyUIService> {
  const { service, unusable } = await workspace.open();
  const reason = unusable.get(job.backend);
  if (reason === undefined || hasEnded(job)) return service;
  await service.close();
  throw reason.within({ jobId: job.id, backend: job.backend });
}

/** What is stored of a job, for machines: without secrets and the places of its outputs. */
export function recordDocument(record: JobRecord): Readonly<Record<string, unknown>> {
  const { id, endpoint, backend, attempt, status, submission, timings, metrics, cost, error, tags } = record;
  const time = (value: number | null): string | null =>
    value === null ? null : new Date(value).toISOString();
  const outputs = record.outputs.map(({ source: _, ...rest }) => rest);
  const times = {
    createdAt: time(record.createdAt),
    startedAt: time(record.startedAt),
    finishedAt: time(record.finishedAt),
  };
  return {
    jobId: id,
    endpoint,
    backend,
    attempt,
    status,
    submission,
    ...times,
    timings,
    metrics: metrics ?? null,
    cost,
    error,
    outputs,
    tags,
  };
}

/** What is stored of a job, for people. */
export function recordText(record: JobRecord, progress: number | undefined): string {
  const percent = progress === undefined ? '' : ` ${Math.round(progress * 100)}%`;
  const lines = [
    `${record.id} ${record.status}${percent}`,
    `  ${record.endpoint ?? 'bare workflow'} on ${record.backend}, attempt ${record.attempt}, created ${new Date(record.createdAt).toISOString()}`,
  ];
  if (hasEnded(record)) {
    const { queueMs, coldStartMs, executionMs } = record.timings;
    lines.push(
      `  queue ${duration(queueMs)}, cold start ${duration(coldStartMs)}, execution ${duration(executionMs)}; cost ${dollars(record.cost?.usd)}`,
    );
  }
  const measured = metricsText(record.metrics ?? undefined);
  if (measured !== undefined) lines.push(`  ${measured}`);
  if (record.error !== null) lines.push(`  ${record.error.code}: ${record.error.message}`);
  for (const made of record.outputs) lines.push(`  ${made.name} (node ${made.nodeId}, ${made.contentType})`);
  return lines.join('\n');
}
