import {
  type CallToolResult,
  fromJsonSchema,
  type JsonSchemaType,
  type ServerContext,
  type Tool,
} from '@modelcontextprotocol/server';
import { ComfyUIServiceError, hasEnded, type JobRecord } from '@ryla/business';
import type { ConfiguredService } from '@ryla/business/config';
import type { EndpointDefinition } from '@ryla/workflow';

import { recordDocument, recordText } from '../stored-job.ts';
import { RESULT_SCHEMA } from './endpoint-tool.ts';
import { followJob, type FollowOptions } from './job-following.ts';

/** Tag of the jobs that agents started; only these can be canceled by them. */
export const AGENT_TAG = 'mcp';

/** Jobs that `list_jobs` shows at most. */
const MOST_JOBS = 50;

/** Milliseconds that `cancel_job` waits for the end. */
const CANCEL_WAIT_MS = 10_000;

const STATUSES = ['queued', 'running', 'canceling', 'succeeded', 'failed', 'canceled', 'expired', 'lost'];

const JOB_ID: Tool['inputSchema'] = {
  type: 'object',
  properties: {
    jobId: { type: 'string', format: 'uuid', description: 'As an endpoint or list_jobs gave it.' },
  },
  required: ['jobId'],
  additionalProperties: false,
};

/** The tools about jobs. Names of endpoints have no underscore, so that none can be like these. */
export const JOB_TOOLS: readonly Tool[] = [
  {
    name: 'job_status',
    title: 'State of a job',
    description:
      'What is known of a job now, without waiting: its state, progress, timings, cost, error and outputs.',
    inputSchema: JOB_ID,
    annotations: { readOnlyHint: true, openWorldHint: false },
  },
  {
    name: 'job_result',
    title: 'Result of a job',
    description:
      'Waits for a job that was started earlier, as its endpoint does, and gives what it made: pictures in the answer, every output saved to a file.',
    inputSchema: JOB_ID,
    outputSchema: RESULT_SCHEMA,
    annotations: { readOnlyHint: true, openWorldHint: false },
  },
  {
    name: 'list_jobs',
    title: 'Recent jobs',
    description: 'Jobs of this workspace, newest first, whoever started them.',
    inputSchema: {
      type: 'object',
      properties: {
        endpoint: { type: 'string', description: 'Only of this endpoint.' },
        status: { enum: STATUSES, description: 'Only in this state.' },
        limit: { type: 'integer', minimum: 1, maximum: MOST_JOBS, default: 10 },
      },
      additionalProperties: false,
    },
    annotations: { readOnlyHint: true, openWorldHint: false },
  },
  {
    name: 'cancel_job',
    title: 'Cancel a job',
    description: 'Stops a job that an agent started. One that has ended stays as it is.',
    inputSchema: JOB_ID,
    annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: false },
  },
];

/** Whether a tool is one about jobs. */
export function isJobTool(name: string): boolean {
  return JOB_TOOLS.some((tool) => tool.name === name);
}

/** What a call of a tool about jobs acts on. */
export interface JobToolCall {
  readonly context: ServerContext;
  readonly opened: ConfiguredService;
  readonly tools: FollowOptions;
  readonly definitions: readonly EndpointDefinition[];
}

/**
 * Calls a tool about jobs.
 *
 * @throws {ComfyUIServiceError} `invalid_input`, `unknown_job`, or as the job's backend says.
 */
export async function callJobTool(
  name: string,
  values: Readonly<Record<string, unknown>>,
  call: JobToolCall,
): Promise<CallToolResult> {
  const { service } = call.opened;
  if (name === 'list_jobs') {
    const { endpoint, status, limit = 10 } = await checked<ListArguments>(name, values);
    const page = await service.jobs.list(
      {
        ...(endpoint === undefined ? {} : { endpoint }),
        ...(status === undefined ? {} : { status: [status] }),
      },
      { limit },
    );
    const text = page.jobs.map((job) => recordText(job, undefined)).join('\n');
    return answer(text === '' ? 'No jobs.' : text, { jobs: page.jobs.map(recordDocument) });
  }
  const { jobId } = await checked<{ readonly jobId: string }>(name, values);
  const job = service.job(jobId);
  const record = await job.record();
  if (name === 'job_result') {
    const endpoint = call.definitions.find(({ config }) => config.name === record.endpoint);
    return followJob(job, endpoint, call.context, call.tools);
  }
  if (name === 'cancel_job') {
    if (!record.tags.includes(AGENT_TAG)) {
      throw new ComfyUIServiceError('not_supported', 'This job was not started by an agent.', {
        jobId,
        hint: `A person can: ryla cancel ${jobId}`,
      });
    }
    await job.cancel();
    await job.wait({ signal: AbortSignal.timeout(CANCEL_WAIT_MS) }).catch(() => undefined);
    return described(await job.record(), undefined);
  }
  if (hasEnded(record)) return described(record, undefined);
  const { progress } = await job.status();
  return described(await job.record(), progress?.value);
}

interface ListArguments {
  readonly endpoint?: string;
  readonly status?: JobRecord['status'];
  readonly limit?: number;
}

/** The arguments of a tool, checked against the schema that agents are shown. */
async function checked<T>(name: string, values: Readonly<Record<string, unknown>>): Promise<T> {
  const schema = JOB_TOOLS.find((tool) => tool.name === name)?.inputSchema as JsonSchemaType;
  const result = await fromJsonSchema<T>(schema)['~standard'].validate(values);
  if (result.issues === undefined) return result.value;
  throw new ComfyUIServiceError(
    'invalid_input',
    `${name}: ${result.issues.map(({ message }) => message).join('; ')}`,
  );
}

function described(record: JobRecord, progress: number | undefined): CallToolResult {
  return answer(recordText(record, progress), { ...recordDocument(record), progress: progress ?? null });
}

function answer(text: string, document: Record<string, unknown>): CallToolResult {
  // Through JSON: what is undefined has no place in it.
  const structuredContent = JSON.parse(JSON.stringify(document)) as Record<string, unknown>;
  return { content: [{ type: 'text', text }], structuredContent };
}
