import { type CustomNode, registryPin } from '../../custom-node.ts';
import type { EndpointConfig } from '../../endpoint-config.ts';
import type { CustomClass } from '../../inventory/custom-nodes.ts';
import { currentFolder, isPinnedUrl, type ModelReference } from '../../inventory/model-files.ts';
import { takeInventory } from '../take-inventory.ts';
import type { Environment, EnvironmentOptions, UnpinnedPart } from './environment.ts';
import {
  COMMIT,
  type Findings,
  isSameRepository,
  type ModelFinding,
  type NodeFinding,
  withoutSecrets,
} from './findings.ts';

type Model = EndpointConfig['models'][number];

/** Turns what a source names into parts of endpoint.json, and lists what cannot be. */
export async function pinFindings(findings: Findings, options: EnvironmentOptions): Promise<Environment> {
  const wanted = wantedBy(options);
  const { used, classes, missing, unused } = usedNodes(findings.nodes, wanted?.classes);
  const unpinned: UnpinnedPart[] = [...findings.other];
  const customNodes: CustomNode[] = [];
  const models: Model[] = [];
  const { version, commit, problem } = findings.comfyui;
  if (problem !== undefined)
    unpinned.push({ part: 'comfyui', name: 'ComfyUI', ...problem, known: known({ version, commit }) });
  for (const node of used) {
    const pinned = await pinNode(node, options);
    if ('code' in pinned) unpinned.push(pinned);
    else customNodes.push(pinned);
  }
  for (const model of withSources(findings.models, wanted?.models, options.modelSources)) {
    const pinned = await pinModel(model, options);
    if ('code' in pinned) unpinned.push(pinned);
    else models.push(pinned);
  }
  for (const className of missing) {
    unpinned.push({
      part: 'node',
      name: className,
      code: 'missing_node',
      problem: `The workflow uses the class ${className}, and nothing here is known to have it.`,
      action:
        'Find its repository and add it to customNodes with a commit, or remove the node from the workflow.',
      known: {},
    });
  }
  return {
    kind: findings.kind,
    comfyui: version === undefined ? undefined : { version },
    customNodes,
    models,
    gpu: findings.gpu,
    unpinned,
    classes,
    missingClasses: missing,
    unused,
  };
}

interface Wanted {
  readonly classes: readonly CustomClass[];
  readonly models: readonly ModelReference[];
}

function wantedBy({ workflow, server, nodeMap }: EnvironmentOptions): Wanted | undefined {
  if (workflow === undefined) return undefined;
  const inventory = takeInventory(workflow, {
    ...(server === undefined ? {} : { server }),
    ...(nodeMap === undefined ? {} : { nodeMap }),
  });
  return { classes: inventory.customClasses, models: inventory.models.filter(({ active }) => active) };
}

/**
 * The packages that have the workflow's custom classes. While a class is not found, packages of which nothing is known
 * stay too: it may be in one of them.
 */
function usedNodes(nodes: readonly NodeFinding[], wanted: readonly CustomClass[] | undefined) {
  if (wanted === undefined) return { used: nodes, classes: {}, missing: [], unused: [] };
  const classes: Record<string, string> = {};
  const missing: string[] = [];
  const suppliers = new Set<NodeFinding>();
  for (const one of wanted) {
    const node =
      nodes.find((candidate) => candidate.defines?.(one.className) === true) ??
      nodes.find((candidate) => isFrom(one, candidate));
    if (node === undefined) missing.push(one.className);
    else {
      suppliers.add(node);
      classes[one.className] = node.name;
    }
  }
  const isKept = (node: NodeFinding) =>
    suppliers.has(node) || (missing.length > 0 && node.defines === undefined);
  return {
    used: nodes.filter(isKept),
    classes,
    missing,
    unused: nodes.filter((node) => !isKept(node)).map(({ name }) => name),
  };
}

function isFrom({ source }: CustomClass, node: NodeFinding): boolean {
  // Where the source has the code and the class is not in it, names do not count.
  if (node.defines !== undefined || source.kind === 'unknown') return false;
  const repositories = source.kind === 'repository' ? [source.repository] : source.candidates;
  const registry = 'registry' in source ? source.registry?.id.toLowerCase() : undefined;
  if (
    registry !== undefined &&
    (node.registry?.id.toLowerCase() === registry || node.name.toLowerCase() === registry)
  )
    return true;
  const { repository } = node;
  if (repository !== undefined && repositories.some((one) => isSameRepository(one, repository))) return true;
  const names = repositories.map((one) => one.split('/').at(-1)?.toLowerCase());
  return node.registry !== undefined && names.includes(node.registry.id.toLowerCase());
}

async function pinNode(node: NodeFinding, options: EnvironmentOptions): Promise<CustomNode | UnpinnedPart> {
  const { resolver, signal } = options;
  const { name, repository, ref, registry, problem } = node;
  const facts = known({
    repository,
    commit: node.commit,
    ref,
    registry: registry?.id,
    version: registry?.version,
  });
  const unpinned = (about: Omit<UnpinnedPart, 'part' | 'name' | 'known'>): UnpinnedPart => ({
    part: 'node',
    name,
    ...about,
    known: facts,
  });
  if (problem !== undefined) return unpinned(problem);
  if (repository !== undefined && node.commit !== undefined && COMMIT.test(node.commit))
    return { name, repository, commit: node.commit };
  if (registry !== undefined) {
    const pin = registryPin(name, registry);
    if (pin === undefined) return unpinned(noRelease(registry.id));
    return { ...pin, ...(await resolver?.registryArchive?.(pin.registry, pin.version, signal)) };
  }
  if (repository === undefined) {
    return unpinned({
      code: 'no_repository',
      problem: 'No repository is named for it.',
      action: 'Push it to a repository that the build can read and add that to customNodes with its commit.',
    });
  }
  const found = await resolver?.commit(repository, ref, signal);
  if (found === 'private') {
    return unpinned({
      code: 'private_repository',
      problem: `${repository} does not let anybody read it.`,
      action: 'Make it public, or copy it into a repository that the build can read.',
    });
  }
  if (found !== undefined) return { name, repository, commit: found.commit };
  return unpinned({
    code: 'moving_ref',
    problem:
      ref === undefined
        ? 'No commit is named: whatever is newest would be installed.'
        : `${ref} is no whole commit.`,
    action: `Run git ls-remote ${repository} ${ref ?? 'HEAD'} and add the commit that works for you to customNodes.`,
  });
}

function noRelease(id: string): Omit<UnpinnedPart, 'part' | 'name' | 'known'> {
  return {
    code: 'registry_version',
    problem: `It is ${id} of the Comfy registry, and no version is named: whichever is newest would be installed.`,
    action: `Look up which version works for you, and add it to customNodes: {"name", "registry": "${id}", "version"}.`,
  };
}

/** Models of the source, with addresses that the workflow or the caller knows. */
function withSources(
  models: readonly ModelFinding[],
  wanted: readonly ModelReference[] | undefined,
  sources: ReadonlyMap<string, string> | undefined,
): ModelFinding[] {
  const declared = new Map((wanted ?? []).map((model) => [model.filename, model]));
  const isWanted = ({ filename }: ModelFinding) => wanted === undefined || declared.has(filename);
  return models.filter(isWanted).map((model) => {
    const reference = declared.get(model.filename);
    return {
      ...model,
      directory: model.directory ?? reference?.directory,
      url: model.url ?? reference?.url ?? sources?.get(model.filename),
      sha256: model.sha256 ?? reference?.sha256,
    };
  });
}

async function pinModel(
  model: ModelFinding,
  { resolver, signal }: EnvironmentOptions,
): Promise<Model | UnpinnedPart> {
  const { filename, problem } = model;
  const directory = model.directory === undefined ? undefined : currentFolder(model.directory);
  const address = model.url === undefined ? undefined : withoutSecrets(model.url);
  const facts = known({ directory, url: address?.url, size: model.size, sha256: model.sha256 });
  const unpinned = (about: Omit<UnpinnedPart, 'part' | 'name' | 'known'>): UnpinnedPart => ({
    part: 'model',
    name: filename,
    ...about,
    known: facts,
  });
  if (problem !== undefined) return unpinned(problem);
  if (directory === undefined) {
    return unpinned({
      code: 'unknown_directory',
      problem: 'Nothing says in which folder of models it must be.',
      action: 'Add it to models with the directory that its loader reads.',
    });
  }
  if (address === undefined || !address.url.startsWith('https:')) {
    return unpinned({
      code: 'no_public_source',
      problem:
        address === undefined ? 'No public address is known for it.' : `${address.url} is no https address.`,
      action: 'Upload it where the build can fetch it over https, and add it to models with that address.',
    });
  }
  const found = address.hadSecret ? 'private' : await resolver?.file(address.url, signal);
  if (found === 'private') {
    return unpinned({
      code: 'private_source',
      problem: `${address.url} needs a login or a token.`,
      action:
        'Put a copy where the build can fetch it, or give the build a secret of its own; never a token in endpoint.json.',
    });
  }
  if (found !== undefined) {
    const isSame = (model.sha256 ?? found.sha256) === found.sha256;
    if (isSame) return { url: found.url, directory, filename, size: found.size, sha256: found.sha256 };
    return unpinned({
      code: 'different_file',
      problem: `The file at ${address.url} has another SHA-256 (${found.sha256}) than the one in use.`,
      action: 'Find the revision that has the one in use, or try the newer file and add that to models.',
    });
  }
  const { size, sha256 } = model;
  if (/\/resolve\//.test(address.url) && !isPinnedUrl(address.url)) {
    return unpinned({
      code: 'moving_url',
      problem: `${address.url} names a branch, whose file may change.`,
      action: 'Replace the branch by a commit of the repository, as its page "Files and versions" shows it.',
    });
  }
  if (size === undefined || sha256 === undefined) {
    return unpinned({
      code: 'unverified_file',
      problem: `${size === undefined ? 'Its size' : 'Its SHA-256'} is not known.`,
      action: 'Download it once, and add it to models with its size in bytes and its SHA-256.',
    });
  }
  return { url: address.url, directory, filename, size, sha256 };
}

function known(
  facts: Readonly<Record<string, string | number | undefined>>,
): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(facts).filter((entry): entry is [string, string | number] => entry[1] !== undefined),
  );
}
