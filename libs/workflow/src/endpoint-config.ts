import { z } from 'zod';

import { WorkflowError } from './workflow-error.ts';

/** Longest and shortest execution timeout that Modal takes, in seconds (Modal's docs: 1 s to 24 h). */
export const TIMEOUT_SECONDS = { minimum: 1, maximum: 86_400 } as const;

/** Idle seconds after which a container ends (Modal's docs: 2 s to 20 min). */
export const SCALEDOWN_SECONDS = { minimum: 2, maximum: 1_200 } as const;

/** GPUs that Modal offers; an entry may have a count, such as `H100:2` (Modal's docs, 2026-11). */
export const GPUS = [
  'T4',
  'L4',
  'A10',
  'A10G',
  'L40S',
  'A100',
  'A100-40GB',
  'A100-80GB',
  'H100',
  'H100!',
  'H200',
  'B200',
] as const;

const name = z
  .string()
  .regex(
    /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/,
    'use lower-case letters, digits and single dashes, beginning with a letter',
  )
  .max(40, 'at most 40 characters, so that URLs made from it stay within 63');
const node = z.string().min(1).describe('id of a node in the workflow file');
const base = {
  node,
  field: z.string().min(1).describe('name of the input of that node'),
  also: z
    .array(z.strictObject({ node, field: z.string().min(1) }))
    .optional()
    .describe('further places that get the same value'),
  required: z.boolean().default(false).describe('whether a caller must give it'),
  title: z.string().optional(),
  description: z.string().optional(),
};
const file = (kind: 'image' | 'mask' | 'video' | 'audio') =>
  z.strictObject({
    type: z.literal(kind),
    ...base,
    default: z
      .string()
      .optional()
      .describe('file beside endpoint.json that is used when the caller gives none'),
  });
const number = {
  ...base,
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  default: z.number().optional(),
};

/** One typed input of an endpoint: where it goes in the workflow and what it accepts. */
export const endpointInput = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('string'),
    ...base,
    maxLength: z.int().positive().optional(),
    default: z.string().optional(),
  }),
  z.strictObject({
    type: z.literal('text'),
    ...base,
    maxLength: z.int().positive().optional(),
    default: z.string().optional(),
  }),
  z.strictObject({ type: z.literal('integer'), ...number }),
  z.strictObject({ type: z.literal('number'), ...number }),
  z.strictObject({ type: z.literal('boolean'), ...base, default: z.boolean().optional() }),
  z.strictObject({
    type: z.literal('enum'),
    ...base,
    values: z.array(z.string()).min(1),
    default: z.string().optional(),
  }),
  file('image'),
  file('mask'),
  file('video'),
  file('audio'),
]);

const model = z.strictObject({
  url: z
    .url({ protocol: /^https$/ })
    .refine(
      (url) => !/\/resolve\/(main|master)\//.test(url),
      'pin the URL to a revision instead of a branch',
    ),
  directory: z
    .string()
    .regex(/^[a-z0-9_]+(\/[A-Za-z0-9_.-]+)*$/)
    .describe("folder below ComfyUI's models, such as diffusion_models"),
  filename: z.string().regex(/^[^/\\]+$/, 'a file name without folders'),
  size: z.int().positive().describe('bytes'),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits'),
});

const gpu = z
  .string()
  .regex(
    new RegExp(`^(${GPUS.map((card) => card.replace('!', '\\!')).join('|')})(:[1-8])?$`),
    `one of ${GPUS.join(', ')}, with a count such as H100:2 if wanted`,
  );

/** endpoint.json: the single source of truth for one workflow endpoint. */
export const endpointConfig = z
  .strictObject({
    $schema: z.string().optional(),
    name: name.describe('name of the endpoint, and of its folder'),
    title: z.string().min(1),
    description: z.string().default(''),
    workflow: z
      .string()
      .default('workflow.json')
      .describe('workflow file in API format, beside endpoint.json'),
    inputs: z.record(z.string().regex(/^[a-z][A-Za-z0-9]*$/, 'camelCase names'), endpointInput).default({}),
    outputs: z
      .record(
        z.string().regex(/^[a-z][A-Za-z0-9]*$/, 'camelCase names'),
        z.strictObject({ node, type: z.enum(['image', 'video', 'audio', 'text', 'file', 'latent']) }),
      )
      .default({}),
    comfyui: z.strictObject({ version: z.string().regex(/^\d+\.\d+\.\d+$/) }).default({ version: '0.3.64' }),
    customNodes: z
      .array(
        z.strictObject({
          name: z.string().min(1),
          repository: z.url({ protocol: /^https$/ }),
          commit: z.string().regex(/^[0-9a-f]{40}$/, 'a whole commit hash of 40 digits'),
        }),
      )
      .default([]),
    models: z.array(model).default([]),
    gpu: z.array(gpu).min(1).default(['L4']).describe('GPUs in order of preference'),
    cpu: z.number().min(0.125).max(64).default(2).describe('cores'),
    memory: z.int().min(128).max(344_064).default(8192).describe('MiB'),
    scaling: z
      .strictObject({
        minContainers: z.int().min(0).default(0),
        maxContainers: z.int().min(1).default(1),
        bufferContainers: z.int().min(0).default(0),
        scaledownWindow: z
          .int()
          .min(SCALEDOWN_SECONDS.minimum)
          .max(SCALEDOWN_SECONDS.maximum)
          .default(60)
          .describe('seconds'),
      })
      .prefault({}),
    timeouts: z
      .strictObject({
        execution: z
          .int()
          .min(TIMEOUT_SECONDS.minimum)
          .max(TIMEOUT_SECONDS.maximum)
          .default(600)
          .describe('seconds'),
        startup: z
          .int()
          .min(TIMEOUT_SECONDS.minimum)
          .max(TIMEOUT_SECONDS.maximum)
          .default(300)
          .describe('seconds'),
      })
      .prefault({}),
    providers: z
      .strictObject({
        modal: z
          .strictObject({ auth: z.enum(['modal-proxy', 'bearer']).default('modal-proxy') })
          .prefault({}),
        runpod: z.strictObject({ endpointId: z.string().optional() }).prefault({}),
      })
      .prefault({}),
  })
  .check((context) => {
    const { minContainers, maxContainers } = context.value.scaling;
    if (minContainers > maxContainers) {
      context.issues.push({
        code: 'custom',
        message: 'minContainers must not be above maxContainers',
        path: ['scaling', 'minContainers'],
        input: minContainers,
      });
    }
  });

/** A checked endpoint.json with its defaults filled in. */
export type EndpointConfig = z.infer<typeof endpointConfig>;

/** One input of an {@link EndpointConfig}. */
export type EndpointInput = z.infer<typeof endpointInput>;

/**
 * Checks an endpoint.json.
 *
 * @throws {WorkflowError} `invalid_endpoint` that lists every problem with its path.
 */
export function parseEndpointConfig(value: unknown): EndpointConfig {
  const result = endpointConfig.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(
    (issue) => `  ${issue.path.join('.') || '(top)'}: ${issue.message}`,
  );
  throw new WorkflowError('invalid_endpoint', `endpoint.json is not valid:\n${problems.join('\n')}`, {
    cause: result.error,
  });
}

/** The JSON Schema of endpoint.json, as editors and Python use it: without defaults a key may be absent. */
export function endpointJsonSchema(): Record<string, unknown> {
  return {
    ...z.toJSONSchema(endpointConfig, { io: 'input', target: 'draft-2020-12', unrepresentable: 'any' }),
    title: 'endpoint.json',
    description:
      'One ComfyUI workflow endpoint: its workflow, inputs, outputs, models, nodes, hardware and providers.',
  };
}
