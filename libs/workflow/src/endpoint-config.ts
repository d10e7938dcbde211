import { z } from 'zod';

import { customNode } from './custom-node.ts';
import { deploymentFields, deploymentProblems } from './endpoint-deployment.ts';
import { runpodProvider } from './runpod-provider.ts';
import { WorkflowError } from './workflow-error.ts';

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
  secret: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9_-]*$/, 'letters, digits, dashes and underscores')
    .optional()
    .describe('Modal secret with the token of a gated file: HF_TOKEN of the secret hf'),
});

const webLabel = z
  .string()
  .regex(/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/, 'lower-case letters, digits and single dashes')
  .max(40, 'at most 40 characters')
  .describe('beginning of its URLs, in place of ryla-<name>: <workspace>--<label>-api.modal.run');

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
      .array(customNode)
      .default([])
      .describe('installed in this order; each a commit of a repository, or a version of the Comfy registry'),
    models: z.array(model).default([]),
    smoke: z
      .strictObject({
        inputs: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
        timeout: z.int().positive().optional().describe('seconds, a cold start included; 900 without it'),
      })
      .optional()
      .describe('the small job that every deployment is tried with; without it, the defaults of the inputs'),
    ...deploymentFields,
    providers: z
      .strictObject({
        modal: z
          .strictObject({
            auth: z.enum(['modal-proxy', 'bearer']).default('modal-proxy'),
            label: webLabel.optional(),
          })
          .prefault({}),
        runpod: runpodProvider.prefault({}),
      })
      .prefault({}),
  })
  .check((context) => {
    const nodes = context.value.customNodes.map((customNode) => customNode.name);
    nodes.forEach((name, index) => {
      if (nodes.indexOf(name) === index) return;
      const path = ['customNodes', index, 'name'];
      context.issues.push({ code: 'custom', message: `${name} is there twice`, path, input: name });
    });
    for (const { path, message } of deploymentProblems(context.value)) {
      context.issues.push({ code: 'custom', message, path, input: context.value });
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
  const problems = result.error.issues
    .flatMap(plainIssues)
    .map(({ path, message }) => `  ${path.join('.') || '(top)'}: ${message}`);
  throw new WorkflowError('invalid_endpoint', `endpoint.json is not valid:\n${problems.join('\n')}`, {
    cause: result.error,
  });
}

interface PlainIssue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** What is wrong with a key of a record is said one level below; of several forms the nearest one is meant. */
function plainIssues(issue: z.core.$ZodIssue): PlainIssue[] {
  if (issue.code === 'invalid_key') return [{ ...issue, message: issue.issues[0]?.message ?? issue.message }];
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
  const forms = issue.errors.map((form) => form.flatMap(plainIssues));
  const nearest = forms.reduce((best, form) => (form.length < best.length ? form : best));
  return nearest.map(({ path, message }) => ({ path: [...issue.path, ...path], message }));
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
