import type { ErrorCode } from '../errors.ts';

/**
 * Codes that our workers give a job's error (libs/worker, apps/runpod, apps/modal), and what each is called here. A test
 * reads them in the workers' sources, so that none is missed.
 */
const WORKER_CODES = {
  already_claimed: 'already_claimed',
  canceled: 'canceled',
  // The worker could not claim the job and did not run it: to the caller it is a machine that cannot run it now.
  claims_unavailable: 'engine_unavailable',
  engine_crashed: 'engine_crashed',
  // Whoever built the image forgot to say which ComfyUI it has: to the caller it is one that does not start.
  engine_not_configured: 'engine_unavailable',
  engine_unavailable: 'engine_unavailable',
  invalid_input_file: 'invalid_input_file',
  invalid_workflow: 'invalid_workflow',
  missing_models: 'missing_models',
  node_execution_error: 'node_execution_error',
  out_of_memory: 'out_of_memory',
  output_missing: 'output_missing',
  payload_too_large: 'payload_too_large',
  timed_out: 'timed_out',
  worker_error: 'backend_error',
  worker_lost: 'worker_lost',
} as const satisfies Readonly<Record<string, ErrorCode>>;

/** What a worker's code is called here; undefined for one that is not ours. */
export function codeOfWorker(code: string): ErrorCode | undefined {
  return BY_WORKER.get(code);
}

const BY_WORKER: ReadonlyMap<string, ErrorCode> = new Map(Object.entries(WORKER_CODES));
