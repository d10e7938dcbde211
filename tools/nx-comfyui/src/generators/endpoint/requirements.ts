import process from 'node:process';

import {
  type CustomClass,
  type CustomNode,
  customNodePackage,
  endpointConfig,
  type EndpointConfig,
  type Inventory,
  type ModelReference,
  type NodeMap,
  type ObjectInfo,
  registryPin,
} from '@ryla/workflow';
import {
  CORE_VERSION,
  type Environment,
  loadNodeMap,
  type PinResolver,
  publicResolver,
  readEnvironment,
  takeInventory,
} from '@ryla/workflow/node';

import { userPath } from './user-path.ts';

type Model = EndpointConfig['models'][number];

/** Something that a person must do before the endpoint can run for real. */
export interface LeftToDo {
  readonly name: string;
  readonly problem: string;
  readonly action: string;
}

/** What a workflow needs, as endpoint.json names it, and what it cannot name yet. */
export interface Requirements {
  readonly inventory: Inventory;
  readonly comfyui: { readonly version: string };
  readonly customNodes: readonly CustomNode[];
  readonly models: readonly Model[];
  /** GPU that the user's environment asks for, where it does. */
  readonly gpu: string | undefined;
  readonly left: readonly LeftToDo[];
}

/** Where what a workflow needs is looked up. */
export interface RequirementSources {
  /** A ComfyUI folder, snapshot, comfy-build.yaml, Dockerfile or Modal script, as the user wrote it. */
  readonly from?: string | undefined;
  readonly server?: ObjectInfo | undefined;
  readonly resolver: PinResolver;
  /** ComfyUI-Manager's map, where there is one. */
  readonly nodeMap?: NodeMap | undefined;
}

/** What the user's machine knows: the public network, and the map of a `.venv` in the workspace. */
export function defaultSources(workspaceRoot: string): Pick<RequirementSources, 'resolver' | 'nodeMap'> {
  const huggingFace = process.env['HF_ENDPOINT'];
  const resolver = publicResolver(huggingFace === undefined ? {} : { huggingFace });
  return { resolver: tolerant(resolver), nodeMap: loadNodeMap({ from: workspaceRoot })?.map };
}

/** Finds out what a workflow needs: first in the user's environment, then in what its file and the network say. */
export async function findRequirements(
  original: unknown,
  sources: RequirementSources,
): Promise<Requirements> {
  const { server, nodeMap, resolver } = sources;
  const known = {
    ...(server === undefined ? {} : { server }),
    ...(nodeMap === undefined ? {} : { nodeMap }),
  };
  const environment =
    sources.from === undefined
      ? undefined
      : await readEnvironment(userPath(sources.from), { workflow: original, resolver, ...known });
  const { models: references } = takeInventory(original, known);
  const models = await pinModels(references, environment, resolver);
  const sizes = new Map(models.pinned.map(({ filename, size }) => [filename, size]));
  const inventory = takeInventory(original, { ...known, sizes });
  const nodes = await pinNodes(inventory.customClasses, environment, resolver);
  const version = environment?.comfyui?.version ?? inventory.comfyui.version;
  return {
    inventory,
    comfyui: { version: version ?? CORE_VERSION },
    customNodes: nodes.pinned,
    models: models.pinned,
    gpu: environment?.gpu,
    left: [
      ...(version === undefined ? [noVersion(inventory)] : []),
      ...(environment?.unpinned ?? []).filter(({ part, name }) => part === 'comfyui' || !nodes.has(name)),
      ...models.left,
      ...nodes.left,
    ].filter(({ name }, index, all) => all.findIndex((other) => other.name === name) === index),
  };
}

/** A resolver that takes a network that cannot be reached for one that cannot tell. */
function tolerant(resolver: PinResolver): PinResolver {
  return {
    file: (...asked) => resolver.file(...asked).catch(() => undefined),
    commit: (...asked) => resolver.commit(...asked).catch(() => undefined),
    registryArchive: async (...asked) => resolver.registryArchive?.(...asked).catch(() => undefined),
  };
}

async function pinModels(
  references: readonly ModelReference[],
  environment: Environment | undefined,
  resolver: PinResolver,
) {
  const answers = await Promise.all(
    references
      .filter(({ active }) => active)
      .map(async (reference) => {
        const found = environment?.models.find(({ filename }) => filename === reference.filename);
        return found ?? (await pinModel(reference, resolver));
      }),
  );
  const isPinned = (answer: Model | LeftToDo): answer is Model => 'sha256' in answer;
  const told = new Set((environment?.unpinned ?? []).map(({ name }) => name));
  return {
    pinned: answers.filter(isPinned),
    left: answers.filter((answer): answer is LeftToDo => !isPinned(answer) && !told.has(answer.name)),
  };
}

async function pinModel(reference: ModelReference, resolver: PinResolver): Promise<Model | LeftToDo> {
  const { filename: name, directory, subfolder, url } = reference;
  const found = url === undefined ? undefined : await resolver.file(url);
  if (found !== undefined && found !== 'private' && directory !== undefined) {
    const folder = subfolder === undefined ? directory : `${directory}/${subfolder}`;
    const model = {
      url: found.url,
      directory: folder,
      filename: name,
      size: found.size,
      sha256: found.sha256,
    };
    if (endpointConfig.shape.models.safeParse([model]).success) return model;
  }
  const action =
    'Add them to models in endpoint.json with a URL that names a revision, size in bytes and SHA-256.';
  if (url === undefined) return { name, problem: 'the workflow names no address for it', action };
  if (found === 'private') return { name, problem: `${url} needs a login`, action };
  if (directory === undefined)
    return { name, problem: 'nothing says in which folder of models it belongs', action };
  return { name, problem: `could not be looked up at ${url}`, action };
}

async function pinNodes(
  classes: readonly CustomClass[],
  environment: Environment | undefined,
  resolver: PinResolver,
) {
  const pinned = new Map((environment?.customNodes ?? []).map((node) => [customNodePackage(node), node]));
  const left: LeftToDo[] = [];
  const told = new Set((environment?.unpinned ?? []).map(({ name }) => name));
  for (const { className, source } of classes) {
    const owner = environment?.classes[className];
    if (owner !== undefined || told.has(className) || packagesOf(source).some((one) => pinned.has(one)))
      continue;
    const node = await pinNode(source, resolver);
    if (node === undefined) left.push(nodeLeft(className, source));
    else pinned.set(customNodePackage(node), node);
  }
  const names = new Set([...pinned.values()].map(({ name }) => name));
  return { pinned: [...pinned.values()], left, has: (name: string) => names.has(name) };
}

/** A package by its repository and by its id in the registry, as {@link customNodePackage} names them. */
function packagesOf(source: CustomClass['source']): string[] {
  const commit = '';
  const name = '';
  return [
    ...(source.kind === 'repository'
      ? [customNodePackage({ name, repository: source.repository, commit })]
      : []),
    ...('registry' in source && source.registry !== undefined
      ? [customNodePackage({ name, registry: source.registry.id, version: '' })]
      : []),
  ];
}

/** Code of which only a map tells is not installed before a person has looked at it. */
async function pinNode(
  source: CustomClass['source'],
  resolver: PinResolver,
): Promise<CustomNode | undefined> {
  if (source.kind !== 'repository' && source.kind !== 'registry') return undefined;
  if (source.kind === 'repository' && source.commit !== undefined)
    return { name: folderName(source.repository), repository: source.repository, commit: source.commit };
  if (source.registry !== undefined) {
    const { id } = source.registry;
    const pin = registryPin(folderName(id), source.registry);
    if (pin !== undefined) return { ...pin, ...(await resolver.registryArchive?.(id, pin.version)) };
  }
  if (source.kind === 'registry' || source.statedBy === 'map') return undefined;
  const found = await resolver.commit(source.repository, undefined);
  if (found === undefined || found === 'private') return undefined;
  return { name: folderName(source.repository), repository: source.repository, commit: found.commit };
}

function nodeLeft(name: string, source: CustomClass['source']): LeftToDo {
  const generator = 'npx nx g @ryla/nx-comfyui:custom-node <endpoint> --repository=';
  switch (source.kind) {
    case 'repository':
      return {
        name,
        problem: `This class is from ${source.repository} (${source.evidence}), and no commit is known.`,
        action: `Look at it, then: ${generator}${source.repository}`,
      };
    case 'registry':
      return {
        name,
        problem: `This class is from the package ${source.registry.id} of the Comfy registry, and the workflow names no version.`,
        action: `Look up which version works for you, then: npx nx g @ryla/nx-comfyui:custom-node <endpoint> --registry=${source.registry.id}@<version>`,
      };
    case 'ambiguous':
      return {
        name,
        problem: `This class is in several repositories: ${source.candidates.join(', ')}.`,
        action: `Choose one, then: ${generator}<address>`,
      };
    case 'unknown':
      return {
        name,
        problem: 'Nobody is known to have this class.',
        action: `Find its repository, then: ${generator}<address>`,
      };
  }
}

function noVersion({ comfyui }: Inventory): LeftToDo {
  return {
    name: 'ComfyUI',
    problem: `${comfyui.why} ${CORE_VERSION} was written.`,
    action: 'Write the release that works for you into comfyui.version of endpoint.json.',
  };
}

/** Folder below custom_nodes for a repository: its own name, of plain letters. */
export function folderName(repository: string): string {
  const last = repository.replace(/\/+$/, '').split('/').at(-1) ?? '';
  const name = last.replace(/\.git$/, '').replace(/[^A-Za-z0-9._-]/g, '-');
  return /^[A-Za-z0-9]/.test(name) ? name : 'custom-node';
}
