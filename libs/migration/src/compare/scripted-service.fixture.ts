/** A service that answers by a script, with timings and prices of the test's choice. */
import { type ComfyUIService, type ComfyUIServiceError, JobOutput, type JobResult } from '@ryla/business';
import {
  type EndpointDefinition,
  type OutputKind,
  parseApiWorkflow,
  parseEndpointConfig,
} from '@ryla/workflow';

/** What a scripted job makes and how long it takes, in milliseconds. */
export interface Scripted {
  readonly outputs?: readonly (readonly [name: string, content: Uint8Array, kind?: OutputKind])[];
  readonly executionMs?: number;
  readonly coldStartMs?: number | null;
  readonly queueMs?: number;
  readonly gpu?: string;
  readonly error?: ComfyUIServiceError;
}

/** An endpoint with a text and a seed. */
export const scriptedEndpoint: EndpointDefinition<
  { readonly prompt?: string; readonly seed?: number },
  'picture'
> = {
  config: parseEndpointConfig({
    name: 'scripted',
    title: 'Scripted',
    inputs: {
      prompt: { type: 'string', node: '1', field: 'text', default: 'a house' },
      seed: { type: 'integer', node: '1', field: 'seed', default: 1 },
    },
    outputs: { picture: { node: '2', type: 'image' } },
    gpu: ['L40S'],
    timeouts: { execution: 60, startup: 60 },
  }),
  workflow: parseApiWorkflow({
    '1': {
      class_type: 'EmptyImage',
      inputs: { width: 8, height: 8, batch_size: 1, color: 0, text: '', seed: 1 },
    },
    '2': { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'p' } },
  }),
};

/** Runs by a script that sees the backend, the job's number there, and its inputs. */
export function scriptedService(
  script: (
    backend: string,
    nth: number,
    inputs: Readonly<Record<string, unknown>>,
  ) => Scripted | Promise<Scripted>,
): Pick<ComfyUIService, 'run'> {
  const counts = new Map<string, number>();
  return {
    async run(_endpoint, inputs, { backend = '', jobId = '' } = {}) {
      const nth = counts.get(backend) ?? 0;
      counts.set(backend, nth + 1);
      const scripted = await script(backend, nth, Object.fromEntries(Object.entries(inputs)));
      if (scripted.error !== undefined) throw scripted.error;
      return resultOf(backend, jobId, scripted);
    },
  };
}

function resultOf(backend: string, jobId: string, scripted: Scripted): JobResult {
  const { outputs = [], executionMs = 1_000, coldStartMs = 0, queueMs = 10, gpu = 'L40S' } = scripted;
  return {
    jobId,
    backend,
    outputs: outputs.map(
      ([name, content, kind = 'image']) =>
        new JobOutput(
          {
            nodeId: '2',
            name,
            kind,
            contentType: 'application/octet-stream',
            size: undefined,
            sha256: undefined,
          },
          () => [content],
        ),
    ),
    named: {},
    timings: { queueMs, coldStartMs, executionMs, totalMs: queueMs + (coldStartMs ?? 0) + executionMs },
    attempts: 1,
    cost: { usd: 0, estimated: false, gpu, pricesOf: null },
    warnings: [],
  };
}
