import { z } from 'zod';

import {
  CPU_CORES,
  GPUS,
  MEMORY_MIB,
  SCALEDOWN_SECONDS,
  TIMEOUT_SECONDS,
  WEB_CONCURRENCY,
  wholeWithin,
  within,
} from './modal-limits.ts';

/** A name of a secret, a volume or an environment on Modal. */
const objectName = z
  .string()
  .max(64, 'at most 64 characters')
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'letters, digits, dots, dashes and underscores');

const gpu = z
  .string()
  .regex(
    new RegExp(`^(${GPUS.map((card) => card.replace('!', '\\!')).join('|')})(:[1-8])?$`),
    `one of ${GPUS.join(', ')}, with a count such as H100:2 if wanted`,
  );

const region = z
  .string()
  .regex(/^[a-z]{2,4}(-[a-z]+)*(-[0-9]+)?$/, 'a region of Modal, such as us, eu or us-east');

const packageName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9+.-]*(=[A-Za-z0-9.+:~-]+)?$/, 'a Debian package, with =version if wanted');

const variables = z
  .record(
    z
      .string()
      .regex(
        /^(?!RYLA_|MODAL_|COMFYUI_DIR$|COMFYUI_MODELS_DIR$|PATH$|PYTHONPATH$|HOME$)[A-Za-z_][A-Za-z0-9_]*$/,
        'a variable that the deployment does not set itself',
      ),
    z.string().regex(/^[^\n\r\0]*$/, 'one line'),
  )
  .describe('environment variables of ComfyUI; secrets do not belong here');

const volume = z.strictObject({
  name: objectName.describe('Modal Volume; it is made when it does not exist'),
  mountPath: z
    .string()
    .regex(
      /^(?!\/root(\/(models|outputs|comfy|endpoint)(\/|$)|$))(\/(?!\.{1,2}(\/|$))[A-Za-z0-9_.-]+)+$/,
      'an absolute path, not at or below /root/models, /root/outputs, /root/comfy or /root/endpoint',
    ),
  readOnly: z.boolean().optional().describe('false when absent'),
  subPath: z
    .string()
    .regex(
      /^((?!\.{1,2}(\/|$))[A-Za-z0-9_.-]+)(\/(?!\.{1,2}(\/|$))[A-Za-z0-9_.-]+)*$/,
      'a folder of the volume',
    )
    .optional()
    .describe('folder of the volume that is mounted in place of the whole'),
});

const snapshot = z
  .enum(['none', 'cpu', 'gpu'])
  .describe(
    'memory snapshots: of the CPU, or also of the GPU (alpha on Modal, crashes on restore are reported)',
  );

const warmUpWorkflow = z
  .string()
  .regex(/^[A-Za-z0-9_][A-Za-z0-9._-]*\.json$/, 'a file beside endpoint.json, such as warm-up.json');

const warmUp = z
  .union([
    z.boolean(),
    warmUpWorkflow,
    z.strictObject({
      workflow: warmUpWorkflow.optional(),
      required: z.boolean().default(false).describe('whether a container must not start without it'),
    }),
  ])
  .describe(
    "a run before a container takes jobs: true for the endpoint's workflow with the inputs of `smoke`, " +
      'or a workflow file in API format; a failure is logged',
  );

const scaling = {
  minContainers: z.int().min(0).describe('containers that stay warm, and are billed'),
  maxContainers: z.int().min(1),
  bufferContainers: z.int().min(0).describe('idle containers kept while there is work'),
  scaledownWindow: wholeWithin(SCALEDOWN_SECONDS),
};

const timeouts = { execution: wholeWithin(TIMEOUT_SECONDS), startup: wholeWithin(TIMEOUT_SECONDS) };

const gateway = {
  cpu: within(CPU_CORES),
  memory: wholeWithin(MEMORY_MIB),
  concurrency: wholeWithin(WEB_CONCURRENCY),
  minContainers: z.int().min(0),
  scaledownWindow: wholeWithin(SCALEDOWN_SECONDS),
};

const image = { systemPackages: z.array(packageName), variables };

const hardware = {
  gpu: z.array(gpu).min(1).describe('GPUs in order of preference'),
  cpu: within(CPU_CORES),
  memory: wholeWithin(MEMORY_MIB),
  regions: z.array(region).describe('where containers may run; anywhere when empty'),
  snapshot,
  secrets: z.array(objectName).describe('Modal secrets of the worker besides ryla-secrets'),
  volumes: z.array(volume).describe('Modal Volumes of the worker besides models and outputs'),
};

/** What may differ between Modal environments: any part, laid over the endpoint's own. Lists are replaced whole. */
export const environmentOverrides = z.strictObject({
  gpu: hardware.gpu.optional(),
  cpu: hardware.cpu.optional(),
  memory: hardware.memory.optional(),
  regions: hardware.regions.optional(),
  snapshot: hardware.snapshot.optional(),
  warmUp: warmUp.optional(),
  secrets: hardware.secrets.optional(),
  volumes: hardware.volumes.optional(),
  scaling: z.strictObject(scaling).partial().optional(),
  timeouts: z.strictObject(timeouts).partial().optional(),
  gateway: z.strictObject(gateway).partial().optional(),
  image: z.strictObject({ variables }).partial().optional(),
});

/** The part of endpoint.json that says what a deployment runs on. */
export const deploymentFields = {
  image: z
    .strictObject({
      systemPackages: image.systemPackages.default([]),
      variables: image.variables.default({}),
    })
    .prefault({})
    .describe("what ComfyUI's image holds besides ComfyUI and the custom nodes"),
  gpu: hardware.gpu.default(['L4']),
  cpu: hardware.cpu.default(2),
  memory: hardware.memory.default(8192),
  regions: hardware.regions.default([]),
  snapshot: hardware.snapshot.default('none'),
  warmUp: warmUp.optional(),
  secrets: hardware.secrets.default([]),
  volumes: hardware.volumes.default([]),
  scaling: z
    .strictObject({
      minContainers: scaling.minContainers.default(0),
      maxContainers: scaling.maxContainers.default(1),
      bufferContainers: scaling.bufferContainers.default(0),
      scaledownWindow: scaling.scaledownWindow.default(60),
    })
    .prefault({}),
  timeouts: z
    .strictObject({ execution: timeouts.execution.default(600), startup: timeouts.startup.default(300) })
    .prefault({}),
  gateway: z
    .strictObject({
      cpu: gateway.cpu.default(0.5),
      memory: gateway.memory.default(512),
      concurrency: gateway.concurrency.default(100),
      minContainers: gateway.minContainers.default(0),
      scaledownWindow: gateway.scaledownWindow.default(60),
    })
    .prefault({})
    .describe('the CPU containers that answer requests'),
  environments: z
    .record(objectName, environmentOverrides)
    .default({})
    .describe('what differs in a Modal environment, such as dev, staging or prod'),
};

type Deployment = z.infer<z.ZodObject<typeof deploymentFields>>;

/** An endpoint as it is in one Modal environment: what `environments` says of it, laid over the rest. */
export function inEnvironment<Config extends Deployment>(config: Config, environment: string): Config {
  const overrides = config.environments[environment];
  return overrides === undefined ? config : (merged(config, overrides) as Config);
}

/** What a deployment cannot be, beyond ranges: a message and the path of the field. */
export function deploymentProblems(config: Deployment): { path: (string | number)[]; message: string }[] {
  const problems = problemsOf(config);
  for (const name of Object.keys(config.environments)) {
    for (const { path, message } of problemsOf(inEnvironment(config, name))) {
      if (problems.some((other) => other.message === message && other.path.join() === path.join())) continue;
      problems.push({ path: ['environments', name, ...path], message });
    }
  }
  return problems;
}

function problemsOf(config: Deployment): { path: (string | number)[]; message: string }[] {
  const problems: { path: (string | number)[]; message: string }[] = [];
  const { minContainers, maxContainers } = config.scaling;
  if (minContainers > maxContainers) {
    problems.push({
      path: ['scaling', 'minContainers'],
      message: 'minContainers must not be above maxContainers',
    });
  }
  config.volumes.forEach(({ mountPath }, index) => {
    const first = config.volumes.findIndex((other) => other.mountPath === mountPath);
    if (first !== index)
      problems.push({ path: ['volumes', index, 'mountPath'], message: `${mountPath} is there twice` });
  });
  return problems;
}

/** Objects are merged, everything else is replaced. */
function merged(base: unknown, over: unknown): unknown {
  if (!isObject(base) || !isObject(over)) return over;
  const keys = new Set([...Object.keys(base), ...Object.keys(over)]);
  return Object.fromEntries(
    [...keys].map((key) => [key, over[key] === undefined ? base[key] : merged(base[key], over[key])]),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
