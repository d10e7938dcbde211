import path from 'node:path';

import type { ProjectConfiguration, TargetConfiguration } from '@nx/devkit';

/** Folder of the programs behind the targets, from the root of the workspace. */
const PROGRAMS = 'tools/nx-comfyui/src';

/** The apps that an endpoint is deployed with. Project edges, so that a change to them selects every endpoint. */
export const ENDPOINT_APPS = ['modal', 'runpod'] as const;

/** Node of the graph that stands for the Python packages of a deployment on Modal, as uv.lock pins them. */
export const MODAL_PACKAGES = 'python:ryla-modal';

/** What the plugin takes from an endpoint.json: nothing that a broken one could break. */
export interface EndpointOutline {
  /** Name of the workflow file beside endpoint.json. */
  readonly workflow: string;
  readonly description: string | undefined;
  /** Names of the other files beside endpoint.json that are deployed: inputs' defaults, workflows to warm up with. */
  readonly files: readonly string[];
}

/** Reads the outline of an endpoint.json from its text. Never throws: `validate` says what is wrong with it. */
export function readOutline(text: string): EndpointOutline {
  const config = parseObject(text);
  const { workflow, description } = config;
  return {
    workflow: isFileName(workflow) ? workflow : 'workflow.json',
    files: [...new Set([...defaultFiles(config['inputs']), ...warmUpFiles(config)])],
    description: typeof description === 'string' && description !== '' ? description : undefined,
  };
}

function isFileName(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(value);
}

const FILE_INPUTS: readonly unknown[] = ['image', 'mask', 'video', 'audio'];

function defaultFiles(inputs: unknown): string[] {
  if (typeof inputs !== 'object' || inputs === null) return [];
  return Object.values(inputs).flatMap((input: unknown) => {
    if (typeof input !== 'object' || input === null || !('type' in input) || !('default' in input)) return [];
    return FILE_INPUTS.includes(input.type) && isFileName(input.default) ? [input.default] : [];
  });
}

/** Workflows that a container warms up with, in every environment. */
function warmUpFiles({ warmUp, environments }: Readonly<Record<string, unknown>>): string[] {
  const overrides = isObject(environments) ? Object.values(environments) : [];
  return [{ warmUp }, ...overrides].flatMap((part) => {
    const wanted = isObject(part) ? part['warmUp'] : undefined;
    const file = isObject(wanted) ? wanted['workflow'] : wanted;
    return isFileName(file) ? [file] : [];
  });
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The Nx project of one endpoint: a library, because others import its client, that deploys.
 *
 * @param root folder of the endpoint from the root of the workspace, such as `apps/endpoints/photo-finish`.
 */
export function endpointProject(root: string, outline: EndpointOutline): ProjectConfiguration {
  return {
    ...bareProject(root, outline),
    implicitDependencies: [...ENDPOINT_APPS],
    targets: {
      validate: validate(root),
      fingerprint: fingerprint(root, outline),
      'fingerprint-runpod': runpodFingerprint(root),
      lock: lock(root),
      models: models(root),
      deploy: deploy(root),
      run: run(root),
      edit: edit(root),
      ...operations(root),
      lint: lint(root),
      typecheck: typecheck(root),
      test: test(root),
      openapi: openapi(root),
    },
  };
}

/** What the project of an endpoint is called and where it lies, here and in a workspace that installed this package. */
export function bareProject(root: string, { description }: EndpointOutline): ProjectConfiguration {
  return {
    root,
    name: path.posix.basename(root),
    sourceRoot: root,
    projectType: 'library',
    tags: ['type:endpoint', 'scope:endpoint'],
    ...(description === undefined ? {} : { metadata: { description } }),
  };
}

function program(name: string, root: string): string {
  return `node --conditions=@ryla/source ${PROGRAMS}/${name}.ts ${root}`;
}

function validate(root: string): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: true,
    inputs: [
      'default',
      { input: 'production', projects: ['workflow'] },
      `{workspaceRoot}/${PROGRAMS}/validate.ts`,
      noPackages,
    ],
    options: { command: program('validate', root) },
    metadata: {
      description: 'Checks endpoint.json, its workflow and the files they name against each other.',
    },
  };
}

/**
 * Its task hash is the fingerprint of a deployment on Modal: exactly what `modal deploy` reads, and the packages it runs with.
 * No tests, docs or client. It takes no arguments and depends on nothing, since both would move the hash.
 */
function fingerprint(root: string, outline: EndpointOutline): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: false,
    inputs: [
      '{projectRoot}/endpoint.json',
      `{projectRoot}/${outline.workflow}`,
      ...outline.files.map((file) => `{projectRoot}/${file}`),
      '{workspaceRoot}/apps/modal/comfyui_app.py',
      '{workspaceRoot}/apps/modal/pyproject.toml',
      '{workspaceRoot}/apps/modal/src/**/*',
      '{workspaceRoot}/apps/modal/requirements/**/*',
      '{projectRoot}/requirements/**/*',
      '{workspaceRoot}/libs/worker/pyproject.toml',
      '{workspaceRoot}/libs/worker/src/**/*',
      '{workspaceRoot}/libs/workflow/schema/endpoint.schema.json',
      { externalDependencies: [MODAL_PACKAGES] },
    ],
    options: { command: program('fingerprint', root) },
    metadata: { description: 'Prints the hash of everything that a deployment of this endpoint is made of.' },
  };
}

/** The same for RunPod: its image and its settings. The workflow is no part of it: every job brings it. */
function runpodFingerprint(root: string): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: false,
    inputs: [
      '{projectRoot}/endpoint.json',
      '{projectRoot}/requirements/**/*',
      '{workspaceRoot}/apps/runpod/Dockerfile',
      '{workspaceRoot}/apps/runpod/image/**/*',
      // What `image_parts.py` reads an endpoint with.
      ...['endpoint_document', 'requirements_lock', 'settings'].map(
        (name) => `{workspaceRoot}/apps/modal/src/ryla_modal/${name}.py`,
      ),
      '{workspaceRoot}/apps/modal/requirements/**/*',
      '{workspaceRoot}/apps/runpod/pyproject.toml',
      '{workspaceRoot}/apps/runpod/src/**/*',
      '{workspaceRoot}/libs/worker/pyproject.toml',
      '{workspaceRoot}/libs/worker/src/**/*',
      noPackages,
    ],
    options: { command: program('fingerprint', root) },
    metadata: { description: 'Prints the hash of everything that this endpoint is made of on RunPod.' },
  };
}

/** Never `^deploy`: the apps that an endpoint depends on are not deployed by themselves. */
function deploy(root: string): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: false,
    dependsOn: ['validate', ...setup],
    options: { command: program('deploy', root) },
    configurations: { cloud: { args: '--target cloud' } },
    metadata: {
      description:
        'Runs `ryla deploy` of this endpoint: compares with what is live, deploys what differs, tries it with a small job. `--help` has its options.',
    },
  };
}

/** Not a step of `deploy`: a worker whose models are missing says so, and gigabytes are brought on purpose. */
function models(root: string): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: false,
    dependsOn: ['validate', ...setup],
    options: { command: program('models', root) },
    configurations: { cloud: { args: '--target cloud' } },
    metadata: {
      description:
        "Brings the endpoint's models to the volume ryla-models: of the local clouds, or with `--target cloud` of Modal. " +
        '`--check` compares only.',
    },
  };
}

/** Not a step of `deploy` either: what is locked changes when somebody asks for it. */
function lock(root: string): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: false,
    dependsOn: ['validate', ...setup],
    options: { command: `.venv/bin/python apps/modal/lock_requirements.py ${root}` },
    metadata: {
      description:
        'Locks the Python requirements of ComfyUI and the custom nodes with uv, in `requirements` beside endpoint.json.',
    },
  };
}

function edit(root: string): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: false,
    dependsOn: ['validate', ...setup],
    options: { command: program('edit', root) },
    configurations: { cloud: { args: '--target cloud' } },
    metadata: {
      description:
        "Opens ComfyUI's own page in a container with the endpoint's image, GPU and volumes, until Ctrl-C. `--no-browser` prints the address only.",
    },
  };
}

const OPERATIONS = {
  status:
    'Shows what is live on Modal and RunPod: version, fingerprint, commit, containers or workers, queue, recent errors. `--provider modal|runpod` for one of them, `--json` for programs.',
  logs: "Prints the deployment's log; `--follow`, `--since 1h`, `--search text` and the rest of `modal app logs`. `--provider runpod` for what active workers print.",
  stop: 'Stops the deployment: no containers, no costs; on Modal no URL, with `--provider runpod` no workers. It asks first; `--yes` does not.',
  costs:
    'Prints what Modal, or RunPod with `--provider runpod`, billed for the endpoint this month; `--for`, `--start`, `--end`, `--show-resources`, `--json`.',
} as const;

/** Thin over the `modal` program, and over RunPod's APIs. */
function operations(root: string): Record<string, TargetConfiguration> {
  return Object.fromEntries(
    Object.entries(OPERATIONS).map(([name, description]) => [
      name,
      {
        executor: 'nx:run-commands',
        cache: false,
        dependsOn: setup,
        options: { command: program(name, root) },
        configurations: { cloud: { args: '--target cloud' } },
        metadata: { description },
      },
    ]),
  );
}

function run(root: string): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: false,
    dependsOn: ['validate'],
    options: { command: program('run', root) },
    configurations: { cloud: { args: '--target cloud' } },
    metadata: {
      description: 'Runs the deployed endpoint once through comfyui-service and saves its outputs.',
    },
  };
}

function lint(root: string): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: true,
    inputs: [
      'default',
      { input: 'production', projects: ['workflow'] },
      '{workspaceRoot}/eslint.config.mjs',
      { externalDependencies: ['eslint', 'typescript-eslint', '@nx/eslint-plugin', 'typescript'] },
    ],
    options: { cwd: root, command: 'eslint .' },
  };
}

function typecheck(root: string): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: true,
    // The declarations that tsc reads; the Python apps have a typecheck too, which says nothing about TypeScript.
    dependsOn: [{ projects: ['workflow'], target: 'typecheck' }],
    inputs: [
      'default',
      { input: 'production', projects: ['workflow'] },
      { externalDependencies: ['typescript'] },
    ],
    outputs: ['{projectRoot}/out-tsc'],
    options: { cwd: root, command: 'tsc --build tsconfig.json' },
  };
}

/** An endpoint's test runs it on the local clouds, so that it hangs on all that they are made of. */
function test(root: string): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: true,
    dependsOn: setup,
    inputs: [
      'default',
      { input: 'production', projects: [...RUN_BY] },
      '{workspaceRoot}/package-lock.json',
      '{workspaceRoot}/uv.lock',
      noPackages,
      { env: 'CI' },
    ],
    options: { cwd: root, command: 'vitest run' },
  };
}

/** Projects that run an endpoint on the local clouds. */
const RUN_BY = ['workflow', 'business', 'worker', 'modal', 'runpod', 'local-clouds', 'start'] as const;

function openapi(root: string): TargetConfiguration {
  return {
    executor: 'nx:run-commands',
    cache: true,
    inputs: [
      '{projectRoot}/*.json',
      { input: 'production', projects: ['workflow'] },
      `{workspaceRoot}/${PROGRAMS}/openapi.ts`,
      `{workspaceRoot}/${PROGRAMS}/generators/endpoint/*.ts`,
      noPackages,
    ],
    options: { command: program('openapi', root) },
    metadata: { description: 'Prints the HTTP interface of this endpoint as OpenAPI; `--out` writes it.' },
  };
}

/** Without it Nx counts every npm package into the hash of a command. */
const noPackages: { externalDependencies: string[] } = { externalDependencies: [] };

/** The Python environment, where the `modal` program is. */
const setup = [{ projects: ['start'], target: 'setup' }];

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    // Reported by `validate`; here it must not take the whole graph down.
    return {};
  }
}
