/** One endpoint of RunPod's as the content of an endpoint.json. */
import { parseEndpointConfig } from '@ryla/workflow';

import { type Container, readContainer, secretNameOf } from './container.ts';
import type { Fields } from './fields.ts';
import { type Gpus, readGpus, readScaling, readTimeout, type Scaling } from './hardware.ts';

/** An endpoint as it is to be in the workspace. */
export interface ImportedEndpoint {
  /** Name of the endpoint and its folder. */
  readonly name: string;
  /** RunPod's id, where the input has one. */
  readonly runpodId: string | undefined;
  /** Content of endpoint.json; `workflow.json` is not there yet. It passes `parseEndpointConfig`. */
  readonly document: Readonly<Record<string, unknown>>;
  /** Names of the variables of its Modal secret, and that secret's name; undefined when it needs none. */
  readonly secret: { readonly name: string; readonly variables: readonly string[] } | undefined;
  /** Ids of network volumes with its models, and where a worker sees them. */
  readonly volumes: readonly string[];
  readonly mountPath: string | undefined;
  /** Files that its image holds. */
  readonly imageModels: readonly string[];
}

/** What endpoints are read with. */
export interface ImportContext {
  /** Names that are taken. */
  readonly taken: Set<string>;
  /** Containers of templates by id. */
  readonly templates: ReadonlyMap<string, Container>;
  /** Pools of GPU types by id. */
  readonly catalogue: ReadonlyMap<string, string>;
  /** Ids of known network volumes. */
  readonly volumes: ReadonlySet<string>;
}

/** Reads one endpoint; undefined for one that is no queue of jobs on GPUs. */
export function readEndpoint(fields: Fields, context: ImportContext): ImportedEndpoint | undefined {
  claimFacts(fields);
  const other = otherKind(fields);
  if (other !== undefined) {
    // All of it, so that nobody thinks a part was brought over.
    fields.claimAll('person', other);
    return undefined;
  }
  const runpodId = identifier(fields, 'id');
  const name = readName(fields, context.taken);
  const container = readContainers(fields, context, name);
  const gpus = readGpus(fields, context.catalogue);
  const scaling = readScaling(fields);
  const timeout = readTimeout(fields);
  const volumes = readVolumes(fields, context.volumes);
  const dataCenterIds = readDataCenters(fields);
  const flashboot = readFlashboot(fields);
  const document = documentOf({
    name,
    title: fields.text('name')?.replace(/ -fb$/, '').trim() ?? '',
    runpodId,
    container,
    gpus,
    scaling,
    timeout,
    volumes,
    dataCenterIds,
    flashboot,
  });
  parseEndpointConfig(document);
  return {
    name,
    runpodId,
    document,
    secret:
      container.variables.length === 0
        ? undefined
        : { name: secretNameOf(name), variables: container.variables },
    volumes,
    mountPath: container.mountPath,
    imageModels: container.models,
  };
}

function claimFacts(fields: Fields): void {
  for (const name of ['createdAt', 'userId', 'version', 'requestUrls', 'aiKey', 'modelReferences'])
    fields.claim('changes', name, "A fact of RunPod's, not a setting: nothing stands for it.");
  if (Array.isArray(fields.value('workers')))
    fields.claim('changes', 'workers', 'Workers that ran when it was exported: nothing stands for them.');
}

/** Why an endpoint cannot be brought over; undefined when it can. */
function otherKind(fields: Fields): string | undefined {
  const type = fields.text('type');
  if (type === 'QUEUE') fields.claim('exact', 'type', 'A queue of jobs.');
  const computeType = fields.text('computeType');
  if (computeType === 'GPU') fields.claim('exact', 'computeType', 'Runs on GPUs.');
  if (type === 'LOAD_BALANCER')
    return 'A load balancer, not a queue of jobs: its HTTP paths are its own. Move it by hand.';
  const isCpu =
    computeType === 'CPU' || Array.isArray(fields.value('cpu')) || fields.text('cpu') !== undefined;
  return isCpu ? 'It runs on CPUs: ComfyUI endpoints here have a GPU. Move it by hand.' : undefined;
}

function identifier(fields: Fields, name: string): string | undefined {
  const id = fields.text(name);
  if (id === undefined || !/^[A-Za-z0-9_-]+$/.test(id)) return undefined;
  fields.claim('exact', name, 'providers.runpod.endpointId: jobs find it under its id.');
  return id;
}

/** A name that a folder, a URL and a Modal app can have; each once. */
function readName(fields: Fields, taken: Set<string>): string {
  const original = fields.text('name') ?? '';
  // What this workspace makes is called ryla-<name> on both clouds already.
  const plain = slugOf(original.replace(/ -fb$/, '').replace(/^ryla-(?=[a-z])/i, ''));
  const base = plain === '' ? slugOf(`endpoint-${fields.text('id') ?? ''}`) : plain;
  let name = base;
  for (let number = 2; taken.has(name); number += 1) name = `${base.slice(0, 36)}-${number}`;
  taken.add(name);
  const isSame = name === original;
  if (fields.text('name') !== undefined)
    fields.claim(
      isSame ? 'exact' : 'changes',
      'name',
      isSame ? 'Its name.' : `The endpoint is ${name}; RunPod keeps the name.`,
    );
  return name;
}

function slugOf(text: string): string {
  return text
    .normalize('NFKD')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^[-0-9]+|-+$/g, '')
    .slice(0, 40)
    .replace(/-+$/, '');
}

/** The endpoint's own container settings over those of its template. */
function readContainers(fields: Fields, { templates }: ImportContext, name: string): Container {
  const secretName = secretNameOf(name);
  const own = readContainer(fields, secretName);
  fields.claimEmpty('templateId', 'template');
  const templateId = fields.text('templateId');
  const known = templateId === undefined ? undefined : templates.get(templateId);
  const isMissing = known === undefined && !fields.has('template');
  if (templateId !== undefined && templateId !== '')
    fields.claim(
      isMissing ? 'person' : 'changes',
      'templateId',
      isMissing
        ? `The template ${templateId} is not among what was exported: image, disk and variables are missing.`
        : 'What the template says is now in endpoint.json.',
    );
  const nested = fields.has('template') ? readTemplate(fields.within('template'), secretName) : undefined;
  const from = [own, nested, known].filter((each) => each !== undefined);
  const first = <Value>(of: (container: Container) => Value | undefined): Value | undefined =>
    from.map(of).find((value) => value !== undefined);
  const image = from.find((each) => each.image !== undefined);
  return {
    image: image?.image,
    comfyui: image?.comfyui,
    models: image?.models ?? [],
    diskGb: first(({ diskGb }) => diskGb),
    registry: first(({ registry }) => registry),
    mountPath: first(({ mountPath }) => mountPath),
    variables: [...new Set(from.flatMap(({ variables }) => variables))],
    secrets: Object.fromEntries(from.toReversed().flatMap(({ secrets }) => Object.entries(secrets))),
  };
}

/** Reads a template, wherever it stands. */
export function readTemplate(fields: Fields, secretName: string): Container {
  for (const name of TEMPLATE_FACTS)
    fields.claim('changes', name, 'Describes the template on RunPod: nothing stands for it.');
  return readContainer(fields, secretName);
}

const TEMPLATE_FACTS = [
  'id',
  'name',
  'category',
  'createdAt',
  'earned',
  'isPublic',
  'isRunpod',
  'isServerless',
  'public',
  'readme',
  'runtimeInMin',
  'serverless',
  'userId',
];

function readVolumes(fields: Fields, known: ReadonlySet<string>): readonly string[] {
  const ids: string[] = [];
  const take = (from: Fields, name: string | number, id: string): void => {
    const isKnown = known.has(id);
    from.claim(
      isKnown ? 'changes' : 'person',
      name,
      isKnown
        ? 'The volume copy brings its models to the Modal Volume; RunPod keeps it (providers.runpod.networkVolumes).'
        : `The network volume ${id} is not among what was exported.`,
    );
    if (!ids.includes(id)) ids.push(id);
  };
  fields.claimEmpty('networkVolumes', 'networkVolumeIds', 'networkVolumeId', 'networkVolume');
  for (const name of ['networkVolumes', 'networkVolumeIds'])
    for (const [index, id] of (fields.texts(name) ?? []).entries())
      if (id !== '') take(fields.within(name), index, id);
  const single = fields.text('networkVolumeId');
  if (single !== undefined && single !== '') take(fields, 'networkVolumeId', single);
  return ids;
}

function readDataCenters(fields: Fields): readonly string[] {
  fields.claimEmpty('dataCenterIds');
  const ids = fields.texts('dataCenterIds');
  if (ids === undefined) return [];
  fields.claim(
    'changes',
    'dataCenterIds',
    'Stay on RunPod (providers.runpod.dataCenterIds); Modal chooses, unless you set "regions", which costs more.',
  );
  return ids.filter((id) => id !== '');
}

function readFlashboot(fields: Fields): 'OFF' | 'FLASHBOOT' | 'PRIORITY_FLASHBOOT' | undefined {
  const value = fields.value('flashboot');
  if (value === undefined || value === null) {
    fields.claimEmpty('flashboot');
    return undefined;
  }
  if (value === false || value === 'OFF') {
    fields.claim('exact', 'flashboot', 'Off: snapshot is "none".');
    return 'OFF';
  }
  if (value !== true && value !== 'FLASHBOOT' && value !== 'PRIORITY_FLASHBOOT') return undefined;
  fields.claim(
    'changes',
    'flashboot',
    'Stays on RunPod (providers.runpod.flashboot). Modal has memory snapshots instead: try "snapshot": "cpu" once it runs.',
  );
  return value === true ? 'FLASHBOOT' : value;
}

interface Parts {
  readonly name: string;
  readonly title: string;
  readonly runpodId: string | undefined;
  readonly container: Container;
  readonly gpus: Gpus;
  readonly scaling: Scaling;
  readonly timeout: number | undefined;
  readonly volumes: readonly string[];
  readonly dataCenterIds: readonly string[];
  readonly flashboot: string | undefined;
}

function documentOf(parts: Parts): Record<string, unknown> {
  const { name, container, gpus, scaling, timeout } = parts;
  const { minContainers, maxContainers, scaledownWindow } = scaling;
  return {
    $schema: '../../../libs/workflow/schema/endpoint.schema.json',
    name,
    title: parts.title === '' ? name : parts.title,
    workflow: 'workflow.json',
    ...(container.comfyui === undefined ? {} : { comfyui: { version: container.comfyui } }),
    ...(gpus.cards.length === 0 ? {} : { gpu: gpus.cards }),
    ...(container.variables.length === 0 ? {} : { secrets: [secretNameOf(name)] }),
    scaling: { minContainers, maxContainers, ...defined({ scaledownWindow }) },
    ...(timeout === undefined ? {} : { timeouts: { execution: timeout } }),
    providers: { modal: {}, runpod: runpodOf(parts) },
  };
}

function runpodOf({ runpodId, container, gpus, scaling, volumes, dataCenterIds, flashboot }: Parts): object {
  return {
    ...defined({ endpointId: runpodId }),
    ...(gpus.pools.length === 0 ? {} : { gpuPools: gpus.pools, gpuCount: gpus.count }),
    ...(gpus.excludedTypes.length === 0 ? {} : { excludedGpuTypes: gpus.excludedTypes }),
    ...defined({
      scaling: scaling.runpod,
      flashboot,
      containerDiskGb: container.diskGb,
      registry: container.registry,
    }),
    ...(volumes.length === 0 ? {} : { networkVolumes: volumes }),
    ...(dataCenterIds.length === 0 ? {} : { dataCenterIds }),
    ...(Object.keys(container.secrets).length === 0 ? {} : { env: referencesOf(container.secrets) }),
  };
}

/** Variables that a deployment does not set itself, as references to RunPod's secrets. */
function referencesOf(
  secrets: Readonly<Record<string, string>>,
): Record<string, { readonly secret: string }> {
  const own = Object.entries(secrets).filter(([name]) => !name.startsWith('RYLA_'));
  return Object.fromEntries(own.map(([name, secret]) => [name, { secret }]));
}

function defined<Values extends object>(values: Values): Partial<Values> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as Partial<Values>;
}
