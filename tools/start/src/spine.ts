/** One workflow through the backends of this machine: bring up, run, save, compare. */
import { rm } from 'node:fs/promises';
import path from 'node:path';

import {
  type Adapter,
  ComfyUIServiceError,
  createComfyUIService,
  createHttpClient,
  type JobEvent,
  type JobHandle,
  modal,
  runpod,
} from '@ryla/business';
import {
  type EndpointConfig,
  type EndpointDefinition,
  type InputValue,
  parseInputText,
} from '@ryla/workflow';

import type { LocalClouds } from './clouds.ts';
import { samePictures } from './picture-comparison.ts';
import type { ProgressDisplay } from './progress-display.ts';
import type { StartReport, StartResult } from './result-table.ts';
import type { Backend, StartOptions } from './start-options.ts';

/** Id of an endpoint on RunPod: the one its endpoint.json names; on the local RunPod its name will do. */
export function runpodEndpointId({ name, providers }: EndpointConfig): string {
  return providers.runpod.endpointId ?? name;
}

/** Deploys what the chosen backends need, with the real tools, and returns an adapter for each. */
export async function bringUp(
  clouds: LocalClouds,
  endpoint: EndpointDefinition,
  backends: readonly Backend[],
  display: ProgressDisplay,
): Promise<Readonly<Partial<Record<Backend, Adapter>>>> {
  const { name } = endpoint.config;
  await clouds.placeSimulatedModels(endpoint);
  const adapters: Partial<Record<Backend, Adapter>> = {};
  if (backends.includes('modal')) {
    const done = display.step('modal deploy: apps/modal and the endpoint');
    await clouds.createApiSecret();
    const [, { app, apiUrl }] = await Promise.all([clouds.deployModal(), clouds.deployModal(name)]);
    const { proxyKey: key, proxySecret: secret } = clouds.description.modal;
    adapters.modal = modal({
      baseUrl: apiUrl,
      auth: { type: 'modal-proxy', key, secret },
      http: createHttpClient(),
    });
    done(`ryla-comfyui, ${app}`);
  }
  if (backends.includes('runpod')) {
    const done = display.step('runpod worker');
    const endpointId = runpodEndpointId(endpoint.config);
    await clouds.registerRunpodWorker(endpointId);
    const { apiUrl, apiKey } = clouds.description.runpod;
    adapters.runpod = runpod({ apiUrl, apiKey, endpointId, http: createHttpClient() });
    done(`registered as ${endpointId}; it starts with the first job`);
  }
  return adapters;
}

/** Runs the endpoint with the same inputs on every backend and saves the outputs. */
export async function runEverywhere(
  adapters: Readonly<Partial<Record<Backend, Adapter>>>,
  endpoint: EndpointDefinition,
  options: StartOptions,
  display: ProgressDisplay,
  signal: AbortSignal,
): Promise<StartReport> {
  const inputs: Record<string, InputValue> = {};
  for (const [name, text] of Object.entries(options.inputs))
    inputs[name] = parseInputText(endpoint.config, name, text);
  await using service = createComfyUIService({ adapters });
  const results = await Promise.all(
    options.backends.map(async (backend): Promise<StartResult> => {
      const started = performance.now();
      const limited = AbortSignal.any([signal, AbortSignal.timeout(options.timeout * 1000)]);
      let handle: JobHandle | undefined;
      try {
        handle = await service.submit(endpoint, inputs, { backend, signal: limited });
        for await (const event of handle.events({ signal: limited })) show(display, backend, event);
        const result = await handle.result({ signal: limited });
        const { queueMs, coldStartMs, executionMs, totalMs } = result.timings;
        const folder = path.join(options.out, endpoint.config.name, backend);
        await rm(folder, { recursive: true, force: true });
        const outputs = await Promise.all(
          result.outputs.map((output) =>
            output.save(path.join(folder, path.basename(output.name)), { signal: limited }),
          ),
        );
        return {
          endpoint: endpoint.config.name,
          backend,
          jobId: handle.id,
          status: 'succeeded',
          outputs,
          timings: { queueMs, coldStartMs, executionMs, totalMs },
        };
      } catch (error) {
        if (signal.aborted) throw error;
        if (limited.aborted)
          await handle?.cancel({ signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
        return failed(
          endpoint.config.name,
          backend,
          handle,
          error,
          limited.aborted,
          performance.now() - started,
        );
      }
    }),
  );
  const comparable = results.every((result) => result.status === 'succeeded');
  const pixelsEqual = comparable ? await samePictures(results.map((result) => result.outputs)) : null;
  return { results, pixelsEqual };
}

function failed(
  endpoint: string,
  backend: Backend,
  handle: JobHandle | undefined,
  error: unknown,
  timedOut: boolean,
  totalMs: number,
): StartResult {
  const known = ComfyUIServiceError.isInstance(error) ? error : undefined;
  if (known === undefined && !timedOut) throw error;
  const code = timedOut ? 'timed_out' : (known?.code ?? 'backend_error');
  const message = timedOut
    ? 'The job took longer than --timeout.'
    : [known?.message, known?.hint].filter(Boolean).join(' ');
  return {
    endpoint,
    backend,
    jobId: handle?.id ?? known?.jobId ?? '',
    status: code === 'canceled' ? 'canceled' : 'failed',
    outputs: [],
    timings: { queueMs: null, coldStartMs: null, executionMs: null, totalMs: Math.round(totalMs) },
    error: { code, message, ...(known?.nodeId === undefined ? {} : { nodeId: known.nodeId }) },
  };
}

function show(display: ProgressDisplay, backend: string, event: JobEvent): void {
  switch (event.type) {
    case 'queued':
      display.job(backend, {
        label: event.position === undefined ? 'queued' : `queued (${event.position})`,
        fraction: null,
      });
      break;
    case 'starting':
      display.job(backend, { label: 'running', fraction: 0 });
      break;
    case 'running': {
      const { progress } = event;
      const steps = progress?.steps === undefined ? '' : ` ${progress.step ?? 0}/${progress.steps}`;
      display.job(backend, {
        label: `${progress?.nodeClass ?? 'running'}${steps}`,
        fraction: progress?.value ?? null,
      });
      break;
    }
    case 'output':
      display.job(backend, { label: `made ${event.output.name}`, fraction: 1 });
      break;
    case 'finished':
      display.job(backend, { label: event.status, fraction: event.status === 'succeeded' ? 1 : null });
      break;
    case 'preview':
      break;
  }
}
