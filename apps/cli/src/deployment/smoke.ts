/** The small job that a deployment is tried with, through comfyui-service as any caller's. */
import { randomUUID } from 'node:crypto';
import path from 'node:path';

import { type Adapter, ComfyUIServiceError, createComfyUIService } from '@ryla/business';
import { type EndpointDefinition, type InputValue, parseInputText } from '@ryla/workflow';

import type { SmokeReport } from './deployment-document.ts';

/** Seconds that a smoke job may take where endpoint.json says nothing: a cold start with its models included. */
const TIMEOUT_SECONDS = 900;

/** How a smoke job ended; `error` says why it failed. */
export interface SmokeResult extends SmokeReport {
  readonly error?: string;
}

/** A deployment that was not tried. */
export const NOT_TRIED: SmokeReport = { status: 'skipped', jobId: null, ms: 0 };

/** Runs an endpoint's smoke job on one deployment. Never throws: what went wrong is in the result. */
export async function runSmoke(
  endpoint: EndpointDefinition,
  connect: () => Adapter,
  signal?: AbortSignal,
): Promise<SmokeResult> {
  const begun = performance.now();
  const jobId = randomUUID();
  const seconds = endpoint.config.smoke?.timeout ?? TIMEOUT_SECONDS;
  const patience = AbortSignal.timeout(seconds * 1000);
  try {
    await using service = createComfyUIService({ adapters: { smoke: connect() } });
    const until = signal === undefined ? patience : AbortSignal.any([signal, patience]);
    await service.run(endpoint, smokeInputs(endpoint), { jobId, signal: until });
    return { status: 'succeeded', jobId, ms: Math.round(performance.now() - begun) };
  } catch (error) {
    const why = patience.aborted ? `it did not end within ${seconds} s` : messageOf(error);
    return { status: 'failed', jobId, ms: Math.round(performance.now() - begun), error: why };
  }
}

/** `smoke.inputs` of an endpoint.json; a file is beside it. What is absent has the input's default. */
export function smokeInputs({ config, directory = '.' }: EndpointDefinition): Record<string, InputValue> {
  return Object.fromEntries(
    Object.entries(config.smoke?.inputs ?? {}).map(([name, value]) => {
      if (typeof value !== 'string') return [name, value];
      const parsed = parseInputText(config, name, value);
      return [name, typeof parsed === 'object' ? { path: path.resolve(directory, value) } : parsed];
    }),
  );
}

function messageOf(error: unknown): string {
  if (ComfyUIServiceError.isInstance(error)) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}
