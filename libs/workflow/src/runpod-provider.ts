import { z } from 'zod';

/** Values of RunPod's `flashboot` (its OpenAPI document 2.0.0). */
const FLASHBOOT = ['OFF', 'FLASHBOOT', 'PRIORITY_FLASHBOOT'] as const;

/** Variables of a worker on RunPod that a deployment sets itself. */
const RESERVED =
  /^RYLA_(MANAGED_BY|ENDPOINT|ENVIRONMENT|FINGERPRINT|COMMIT|PREVIOUS_IMAGE|PREVIOUS_FINGERPRINT)$/;

const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

const SECRET_NAME =
  /(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|SECRET_KEY|PRIVATE_KEY|CREDENTIALS?)$/i;

/** A value that RunPod fills in from its secrets when a worker starts (docs.runpod.io/pods/templates/secrets, read 2026-11-25). */
const SECRET_REFERENCE = /^\{\{\s*RUNPOD_SECRET_[A-Za-z0-9_.-]+\s*\}\}$/;

const identifier = z.string().regex(/^[A-Za-z0-9_-]+$/, "an id of RunPod's");

const variable = z.union([
  z.string(),
  z.strictObject({
    secret: z
      .string()
      .regex(/^[A-Za-z0-9_.-]+$/, "a secret's name: letters, digits, dots, dashes, underscores"),
  }),
]);

/** Variables of a worker: plain text, or the name of a RunPod secret. */
export const runpodVariables = z
  .record(z.string().regex(VARIABLE_NAME, 'a name of a variable'), variable)
  .check((context) => {
    for (const [name, value] of Object.entries(context.value)) {
      const problem = variableProblem(name, value);
      if (problem !== undefined)
        context.issues.push({ code: 'custom', message: problem, path: [name], input: name });
    }
  });

function variableProblem(name: string, value: z.infer<typeof variable>): string | undefined {
  if (RESERVED.test(name)) return 'is set by the deployment itself';
  if (SECRET_NAME.test(name) && typeof value === 'string' && value !== '' && !SECRET_REFERENCE.test(value))
    return `looks like a secret. Make a secret in RunPod's console and refer to it: {"secret": "<its name>"}`;
  return undefined;
}

/** `providers.runpod` of an endpoint.json: what only RunPod has. Everything is optional; libs/runpod-management has the defaults. */
export const runpodProvider = z.strictObject({
  endpointId: identifier.optional().describe('the endpoint that exists; without it the marker finds it'),
  name: z.string().min(1).optional().describe('name on RunPod; ryla-<name> without it'),
  gpuPools: z.array(z.string().min(1)).min(1).optional().describe('in place of the pools for "gpu"'),
  gpuCount: z.int().min(1).optional().describe('cards of each worker'),
  excludedGpuTypes: z
    .array(z.string().min(1))
    .optional()
    .describe("GPU type ids of RunPod's that are not wanted out of the pools"),
  scaling: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('QUEUE_DELAY'), queueDelay: z.number().min(0.5).describe('seconds') }),
      z.strictObject({ type: z.literal('REQUEST_COUNT'), requestCount: z.int().min(1) }),
    ])
    .optional(),
  flashboot: z.enum(FLASHBOOT).optional(),
  networkVolumes: z.array(z.string().min(1)).optional().describe('ids or names; mounted at /runpod-volume'),
  dataCenterIds: z
    .array(z.string().min(1))
    .optional()
    .describe("without any: those of the network volumes, else RunPod's choice"),
  containerDiskGb: z.int().min(1).optional(),
  env: runpodVariables
    .optional()
    .describe('variables of the worker; {"secret": "name"} refers to a RunPod secret'),
  registry: identifier.optional().describe('id of the registry credential for a private image'),
  template: identifier
    .optional()
    .describe('a serverless template whose container settings lie beneath these'),
  args: z.string().optional().describe('arguments for the container'),
});
