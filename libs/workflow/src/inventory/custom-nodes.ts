import { findClass, type ObjectInfo } from '../object-info.ts';
import { isRepositoryNamed, type NodeMap } from './node-map.ts';
import type { NodeUse } from './node-use.ts';

/** A class that ComfyUI itself does not have, and where it comes from. */
export interface CustomClass {
  readonly className: string;
  /** Nodes of this class. */
  readonly nodes: readonly string[];
  readonly source: NodeSource;
}

/** Where a class comes from. Nothing is guessed: what is not certain is `ambiguous` or `unknown`. */
export type NodeSource =
  | {
      readonly kind: 'repository';
      readonly repository: string;
      /** Commit of 40 digits that the workflow names. */
      readonly commit: string | undefined;
      /** Package and version in the Comfy registry, where the workflow names them. */
      readonly registry: RegistryVersion | undefined;
      /**
       * Who says so: the nodes themselves, the server's folders, or ComfyUI-Manager's map alone, in which case a person
       * should look before its code is installed.
       */
      readonly statedBy: 'nodes' | 'server' | 'map';
      readonly evidence: string;
    }
  | {
      readonly kind: 'registry';
      readonly registry: RegistryVersion;
      readonly candidates: readonly string[];
      readonly evidence: string;
    }
  | { readonly kind: 'ambiguous'; readonly candidates: readonly string[]; readonly evidence: string }
  | { readonly kind: 'unknown'; readonly evidence: string };

/** A package in the Comfy registry. */
export interface RegistryVersion {
  readonly id: string;
  /** `undefined` where the workflow names none. */
  readonly version: string | undefined;
}

/** ComfyUI's own repository in ComfyUI-Manager's map, and its new name. */
const CORE_REPOSITORY = /^https:\/\/github\.com\/(?:comfyanonymous|comfy-org)\/comfyui$/i;

const COMMIT = /^[0-9a-f]{40}$/;

/** What is known about classes beside the workflow. */
export interface ClassKnowledge {
  /** Classes of ComfyUI without custom nodes, and its version. */
  readonly core: ObjectInfo;
  readonly coreVersion: string;
  readonly map: NodeMap;
  /** object_info of the user's server, whose `python_module` tells where a class is from. */
  readonly server: ObjectInfo;
  /** The newer ComfyUI that saved the file, in words; `undefined` where it is not known to be newer. */
  readonly newerComfyui: string | undefined;
}

/** Whether a node is one of ComfyUI's own, of whatever version. */
export function isCoreNode(node: NodeUse, { core, map, server }: ClassKnowledge): boolean {
  if (node.cnrId !== undefined) return node.cnrId === 'comfy-core';
  if (node.auxId !== undefined) return false;
  const module = findClass(server, node.type)?.python_module;
  if (module !== undefined) return !module.startsWith('custom_nodes.');
  return (
    findClass(core, node.type) !== undefined ||
    map.candidates(node.type).some(({ repository }) => CORE_REPOSITORY.test(repository))
  );
}

/** The packages that a node may come from, as whoever knows names them; none where it may be one of ComfyUI's own. */
export function packagesOf(node: NodeUse, knowledge: ClassKnowledge): readonly string[] {
  if (isCoreNode(node, knowledge)) return [];
  const named = [node.auxId, node.cnrId, folderOf(knowledge.server, node.type)].filter(
    (name) => name !== undefined,
  );
  return named.length > 0
    ? named.slice(0, 1)
    : knowledge.map.candidates(node.type).map(({ repository }) => repository);
}

/**
 * The custom classes of a workflow and where they come from: what the nodes themselves say (`aux_id`, `cnr_id`, `ver`),
 * else ComfyUI-Manager's map where it names one repository. A class of which nothing but the map tells is `ambiguous`
 * in a file of a newer ComfyUI than the catalogue's: that may have a class of this name itself.
 */
export function customClasses(nodes: readonly NodeUse[], knowledge: ClassKnowledge): CustomClass[] {
  const byClass = Map.groupBy(
    nodes.filter((node) => !isCoreNode(node, knowledge)),
    ({ type }) => type,
  );
  return [...byClass].map(([className, uses]) => ({
    className,
    nodes: uses.map(({ id }) => id),
    source: sourceOf(
      className,
      uses,
      knowledge.map,
      folderOf(knowledge.server, className),
      knowledge.newerComfyui,
    ),
  }));
}

function sourceOf(
  className: string,
  uses: readonly NodeUse[],
  map: NodeMap,
  folder: string | undefined,
  newerCore: string | undefined,
): NodeSource {
  const candidates = map.candidates(className);
  const registry = registryOf(uses);
  const aux = uses.find(({ auxId }) => auxId !== undefined);
  if (aux?.auxId !== undefined) {
    const repository = `https://github.com/${aux.auxId}`;
    return repositorySource(
      repository,
      commitOf(aux),
      registry,
      'nodes',
      `the nodes say so (aux_id ${aux.auxId})`,
    );
  }
  const repositories = candidates.map(({ repository }) => repository);
  if (registry !== undefined) {
    const named = repositories.filter((repository) => isRepositoryNamed(repository, registry.id));
    const [only] = named;
    const evidence = `the nodes name the package ${registry.id} of the Comfy registry`;
    if (named.length === 1 && only !== undefined)
      return repositorySource(
        only,
        commitIn(uses),
        registry,
        'nodes',
        `${evidence}, and ComfyUI-Manager's map a repository of that name`,
      );
    return { kind: 'registry', registry, candidates: repositories, evidence };
  }
  if (folder !== undefined) {
    const named = repositories.filter((repository) => isRepositoryNamed(repository, folder));
    const [only] = named;
    if (named.length === 1 && only !== undefined)
      return repositorySource(
        only,
        undefined,
        undefined,
        'server',
        `the server has it in custom_nodes/${folder}, as ComfyUI-Manager's map`,
      );
  }
  const counting = candidates.filter(({ evidence }) => evidence === 'preempts');
  const [only, another] = counting.length > 0 ? counting : candidates;
  if (only === undefined) {
    const where = folder === undefined ? '' : `; the server has it in custom_nodes/${folder}`;
    return { kind: 'unknown', evidence: `neither its nodes nor ComfyUI-Manager's map tell${where}` };
  }
  if (another !== undefined) {
    const evidence = `ComfyUI-Manager's map lists ${candidates.length} repositories with this class`;
    return { kind: 'ambiguous', candidates: repositories, evidence };
  }
  if (newerCore !== undefined) {
    const evidence = `only ComfyUI-Manager's map tells, and ${newerCore}, which saved the file, may have this class itself`;
    return { kind: 'ambiguous', candidates: repositories, evidence };
  }
  const how = { lists: 'lists it there only', preempts: 'prefers it', pattern: 'has a pattern for its name' }[
    only.evidence
  ];
  return repositorySource(only.repository, undefined, undefined, 'map', `ComfyUI-Manager's map ${how}`);
}

function repositorySource(
  repository: string,
  commit: string | undefined,
  registry: RegistryVersion | undefined,
  statedBy: 'nodes' | 'server' | 'map',
  evidence: string,
): NodeSource {
  return {
    kind: 'repository',
    repository: repository.replace(/\.git$/, ''),
    commit,
    registry,
    statedBy,
    evidence,
  };
}

function registryOf(uses: readonly NodeUse[]): RegistryVersion | undefined {
  const node =
    uses.find(({ cnrId, version }) => cnrId !== undefined && version !== undefined) ??
    uses.find(({ cnrId }) => cnrId !== undefined);
  if (node?.cnrId === undefined) return undefined;
  const version = node.version?.replace(/^v/, '');
  return {
    id: node.cnrId,
    version: version !== undefined && /^\d+\.\d+\.\d+/.test(version) ? version : undefined,
  };
}

function commitIn(uses: readonly NodeUse[]): string | undefined {
  return uses.map(commitOf).find((commit) => commit !== undefined);
}

function commitOf({ version }: NodeUse): string | undefined {
  return version !== undefined && COMMIT.test(version) ? version : undefined;
}

function folderOf(server: ObjectInfo, className: string): string | undefined {
  const module = findClass(server, className)?.python_module;
  return module === undefined ? undefined : /^custom_nodes\.(.+)$/.exec(module)?.[1];
}
