/** One job of a comparison: run, waited for, its outputs loaded. */
import { createHash, randomUUID } from 'node:crypto';

import {
  type Clock,
  type ComfyUIService,
  ComfyUIServiceError,
  type ErrorCode,
  type JobOutput,
  type JobResult,
} from '@ryla/business';
import type { EndpointDefinition } from '@ryla/workflow';

import { COMPARE_TAG } from '../gates/observation.ts';
import type { ComparedJob } from './comparison.ts';
import { type SideOptions, usdOf } from './costs.ts';
import type { LoadedOutput } from './pair-outputs.ts';
import type { Turn } from './schedule.ts';

/** The caller's own mistakes: every job of the comparison would fail with them. */
const CALLERS_ERRORS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'invalid_configuration',
  'invalid_input',
  'invalid_input_file',
  'invalid_workflow',
  'missing_input',
  'not_supported',
  'service_closed',
  'spend_limit_reached',
  'unauthorized',
  'unknown_backend',
  'unknown_input',
]);

/** A job with the contents of its outputs. */
export interface MeasuredJob {
  readonly job: ComparedJob;
  readonly outputs: readonly LoadedOutput[];
}

/** What runs the jobs. */
export interface Bench<Inputs extends object> {
  readonly service: Pick<ComfyUIService, 'run'>;
  readonly endpoint: EndpointDefinition<Inputs>;
  readonly signal: AbortSignal;
  readonly clock: Pick<Clock, 'now'>;
}

/**
 * Runs one job to its end. A job that fails is a measurement; what would fail every job is thrown.
 *
 * @throws {ComfyUIServiceError} for the caller's own mistakes.
 */
export async function measureJob<Inputs extends object>(
  { service, endpoint, signal, clock }: Bench<Inputs>,
  { run, arm }: Turn,
  inputs: Inputs,
  side: SideOptions,
): Promise<MeasuredJob> {
  const { backend } = side;
  const jobId = randomUUID();
  const begun = { id: jobId, run, arm, backend, startedAt: clock.now() };
  try {
    const result = await service.run(endpoint, inputs, {
      backend,
      jobId,
      tags: [COMPARE_TAG],
      notify: false,
      signal,
    });
    const outputs = await loadOutputs(result, signal);
    return { job: { ...begun, ...succeeded(result, outputs, side) }, outputs };
  } catch (error) {
    signal.throwIfAborted();
    if (!ComfyUIServiceError.isInstance(error) || CALLERS_ERRORS.has(error.code)) throw error;
    return { job: { ...begun, ...failed(error) }, outputs: [] };
  }
}

/** Loads what a job made, one output after the other. */
export async function loadOutputs(
  { outputs }: Pick<JobResult, 'outputs'>,
  signal: AbortSignal,
): Promise<readonly LoadedOutput[]> {
  const all = [];
  for (const output of outputs) all.push(await loaded(output, signal));
  return all;
}

async function loaded(output: JobOutput, signal: AbortSignal): Promise<LoadedOutput> {
  const content = await output.bytes({ signal });
  return {
    node: output.nodeId,
    name: output.name,
    kind: output.kind,
    contentType: output.contentType,
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    content,
  };
}

type Outcome = Omit<ComparedJob, 'id' | 'run' | 'arm' | 'backend' | 'startedAt'>;

function succeeded(
  { timings, cost, warnings }: JobResult,
  outputs: readonly LoadedOutput[],
  side: SideOptions,
): Outcome {
  const { totalMs, queueMs, coldStartMs, executionMs } = timings;
  const gpu = cost?.gpu ?? side.gpu ?? null;
  return {
    status: 'succeeded',
    error: null,
    start: coldStartMs === null ? 'untold' : coldStartMs > 0 ? 'cold' : 'warm',
    totalMs,
    queueMs,
    coldStartMs,
    executionMs,
    gpu,
    usd: usdOf(side, gpu, { executionMs, coldStartMs }),
    outputs: outputs.map(({ content: _, ...output }) => output),
    warnings: [...warnings],
  };
}

function failed({ code, message }: ComfyUIServiceError): Outcome {
  const unknown = {
    totalMs: null,
    queueMs: null,
    coldStartMs: null,
    executionMs: null,
    gpu: null,
    usd: null,
  };
  return {
    status: 'failed',
    error: { code, message },
    start: 'untold',
    ...unknown,
    outputs: [],
    warnings: [],
  };
}
