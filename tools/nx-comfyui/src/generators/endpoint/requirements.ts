import process from 'node:process';

import {
  type CustomClass,
  endpointConfig,
  type EndpointConfig,
  type Inventory,
  type ModelReference,
  type NodeMap,
  type ObjectInfo,
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
type CustomNode = EndpointConfig['customNodes'][number];

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
  const pinned = new Map((environment?.customNodes ?? []).map((node) => [node.repository, node]));
  const left: LeftToDo[] = [];
  const told = new Set((environment?.unpinned ?? []).map(({ name }) => name));
  for (const { className, source } of classes) {
    const owner = environment?.classes[className];
    if (owner !== undefined || told.has(className)) continue;
    if (source.kind === 'repository' && pinned.has(source.repository)) continue;
    const node = await pinNode(source, resolver);
    if (node === undefined) left.push(nodeLeft(className, source));
    else pinned.set(node.repository, node);
  }
  const names = new Set([...pinned.values()].map(({ name }) => name));
  return { pinned: [...pinned.values()], left, has: (name: string) => names.has(name) };
}

/** Code of which only a map tells is not installed before a person has looked at it. */
async function pinNode(
  source: CustomClass['source'],
  resolver: PinResolver,
): Promise<CustomNode | undefined> {
  if (source.kind !== 'repository') return undefined;
  const name = folderName(source.repository);
  if (source.commit !== undefined) return { name, repository: source.repository, commit: source.commit };
  if (source.statedBy === 'map') return undefined;
  const found = await resolver.commit(source.repository, undefined);
  if (found === undefined || found === 'private') return undefined;
  return { name, repository: source.repository, commit: found.commit };
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
        problem: `This class is from the package ${source.registry.id} of the Comfy registry, which names no commit.`,
        action: `Find its repository, then: ${generator}<address> --ref=<tag or commit>`,
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
