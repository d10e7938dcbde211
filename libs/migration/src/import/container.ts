/** Container settings, which endpoints and templates of both API versions have in common. */
import { referencedSecret } from '@ryla/runpod-management';

import { readBaseImage } from './base-image.ts';
import type { Fields } from './fields.ts';

/** What a container is to be. Fields that the input lacks are undefined. */
export interface Container {
  readonly image: string | undefined;
  /** ComfyUI's version, where the image tells. */
  readonly comfyui: string | undefined;
  /** Files that the image holds, as `<directory>/<file>`. */
  readonly models: readonly string[];
  readonly diskGb: number | undefined;
  readonly registry: string | undefined;
  readonly mountPath: string | undefined;
  /** Names of variables that go into the endpoint's Modal secret. */
  readonly variables: readonly string[];
  /** RunPod's secrets by the variables that refer to them. */
  readonly secrets: Readonly<Record<string, string>>;
}

/** Variables of worker-comfyui that our worker does without (its docs/configuration.md). */
const WORKER_VARIABLES: ReadonlySet<string> = new Set([
  'REFRESH_WORKER',
  'SERVE_API_LOCALLY',
  'COMFY_LOG_LEVEL',
  'COMFY_POLLING_INTERVAL_MS',
  'COMFY_POLLING_MAX_RETRIES',
  'WEBSOCKET_RECONNECT_ATTEMPTS',
  'WEBSOCKET_RECONNECT_DELAY_S',
  'WEBSOCKET_TRACE',
  'NETWORK_VOLUME_DEBUG',
]);

/** Where worker-comfyui uploads to; our outputs go through the gateway. */
const BUCKET_VARIABLES = /^BUCKET_(ENDPOINT_URL|ACCESS_KEY_ID|SECRET_ACCESS_KEY)$/;

/** What a key of a Modal secret can be. */
const VARIABLE = /^(?!__proto__$)[A-Za-z_][A-Za-z0-9_]*$/;

/** Variables that would change the deployment itself. */
const OWN_VARIABLES = /^(RYLA_.*|MODAL_.*|COMFYUI_DIR|COMFYUI_MODELS_DIR|PATH|PYTHONPATH|HOME)$/;

/** Name of the Modal secret with the variables of an endpoint. */
export function secretNameOf(endpoint: string): string {
  return `ryla-${endpoint}-env`;
}

/** Reads the container settings of an endpoint or template. `secretName`: where its variables go. */
export function readContainer(fields: Fields, secretName: string): Container {
  fields.claimEmpty(
    'args',
    'dockerStartCmd',
    'dockerEntrypoint',
    'ports',
    'registry',
    'containerRegistryAuthId',
  );
  fields.claimEmpty('volumeInGb', 'mounts', 'startJupyter', 'startSsh');
  for (const name of ['args', 'dockerStartCmd', 'dockerEntrypoint'])
    fields.claim(
      'person',
      name,
      'A start command of its own: the worker here starts itself. Put what it did into the image or custom nodes.',
    );
  fields.claim('person', 'ports', 'Open ports: an endpoint here is reached through its gateway only.');
  fields.claim('person', 'mounts', 'A disk that stays: copy what it holds to a Modal Volume.');
  if ((fields.number('volumeInGb') ?? 0) > 0)
    fields.claim(
      'person',
      'volumeInGb',
      'A disk of the pod: serverless workers have none; copy what it holds to a Modal Volume.',
    );
  for (const name of ['startJupyter', 'startSsh'])
    fields.claim('changes', name, 'For pods; a worker here is looked into with `modal shell`.');
  return {
    ...imageOf(fields),
    diskGb: diskOf(fields),
    registry: registryOf(fields),
    mountPath: mountPathOf(fields),
    ...variablesOf(fields, secretName),
  };
}

function imageOf(fields: Fields): Pick<Container, 'image' | 'comfyui' | 'models'> {
  const name = fields.has('image') ? 'image' : 'imageName';
  const image = fields.text(name);
  if (image === undefined || image === '') return { image: undefined, comfyui: undefined, models: [] };
  const base = readBaseImage(image);
  if (base.kind === 'custom') {
    fields.claim(
      'person',
      name,
      `${image} is an image of your own: its ComfyUI version, custom nodes, Python packages and models cannot be read from its name. \`nx g @ryla/nx-comfyui:workflow-endpoint\` reads them from a folder, a Dockerfile or a snapshot.`,
    );
    return { image, comfyui: undefined, models: [] };
  }
  if (base.kind === 'unknown_release') {
    fields.claim(
      'person',
      name,
      `worker-comfyui ${base.tag} has the ComfyUI that was the latest when it was built: read the version from a worker's log and set comfyui.version.`,
    );
    return { image, comfyui: undefined, models: [] };
  }
  const { comfyui, variant, models } = base;
  if (models === undefined) {
    fields.claim(
      'person',
      name,
      `ComfyUI ${comfyui}; which models the variant ${variant} holds is not known.`,
    );
    return { image, comfyui, models: [] };
  }
  if (models.length === 0) {
    fields.claim('exact', name, `ComfyUI ${comfyui}, no custom nodes, no models.`);
    return { image, comfyui, models };
  }
  fields.claim(
    'person',
    name,
    `ComfyUI ${comfyui}; its models must be named in endpoint.json with URL, size and SHA-256: ${models.join(', ')}.`,
  );
  return { image, comfyui, models };
}

function diskOf(fields: Fields): number | undefined {
  const name = fields.has('disk') ? 'disk' : 'containerDiskInGb';
  const disk = fields.whole(name);
  if (disk === undefined) return undefined;
  fields.claim(
    'changes',
    name,
    `${disk} GB stay on RunPod (providers.runpod.containerDiskGb); Modal needs no size.`,
  );
  return disk > 0 ? disk : undefined;
}

function registryOf(fields: Fields): string | undefined {
  const name = fields.has('registry') ? 'registry' : 'containerRegistryAuthId';
  const registry = fields.text(name);
  if (registry === undefined || registry === '') return undefined;
  fields.claim(
    'person',
    name,
    'A private image: RunPod keeps its credential (providers.runpod.registry); Modal builds its own image and needs none unless you start from yours.',
  );
  return /^[A-Za-z0-9_-]+$/.test(registry) ? registry : undefined;
}

function mountPathOf(fields: Fields): string | undefined {
  const mountPath = fields.text('volumeMountPath');
  if (mountPath === undefined) return undefined;
  fields.claim('changes', 'volumeMountPath', `${mountPath}/models becomes /root/models on the Modal Volume.`);
  return mountPath;
}

function variablesOf(fields: Fields, secretName: string): Pick<Container, 'variables' | 'secrets'> {
  fields.claimEmpty('env');
  const variables: string[] = [];
  const secrets: Record<string, string> = {};
  const env = fields.within('env');
  for (const [name, value] of fields.record('env') ?? []) {
    const secret = referencedSecret(value);
    if (WORKER_VARIABLES.has(name)) {
      env.claim('changes', name, 'A setting of worker-comfyui that the worker here does without.');
      continue;
    }
    if (BUCKET_VARIABLES.test(name)) {
      env.claim('changes', name, 'worker-comfyui uploads there; outputs here go through the gateway.');
      continue;
    }
    if (OWN_VARIABLES.test(name)) {
      env.claim('person', name, 'A variable that the deployment sets itself: give it another name.');
      continue;
    }
    if (!VARIABLE.test(name)) {
      env.claim('person', name, 'No name that a variable can have on Modal.');
      continue;
    }
    variables.push(name);
    if (secret !== undefined) secrets[name] = secret;
    const from =
      secret === undefined ? 'its value, which was not copied,' : `the value of the RunPod secret ${secret}`;
    env.claim('person', name, `Put ${from} into the Modal secret ${secretName} as ${name}.`);
  }
  return { variables, secrets };
}
