import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { logger, type Tree } from '@nx/devkit';
import {
  type CustomNode,
  customNodePin,
  isSamePackage,
  parseEndpointConfig,
  registryPin,
  WorkflowError,
} from '@ryla/workflow';
import { type PinResolver, readEnvironment } from '@ryla/workflow/node';

import { writeDerivedFiles } from '../endpoint/derived-files.ts';
import { readEndpoint, writeDocument } from '../endpoint/endpoint-folder.ts';
import { defaultSources, folderName } from '../endpoint/requirements.ts';
import { userPath } from '../endpoint/user-path.ts';
import type { CustomNodeOptions } from './options.ts';

/**
 * `nx g @ryla/nx-comfyui:custom-node <endpoint>`: adds a custom node to endpoint.json, or moves it to another commit.
 *
 * @throws {WorkflowError} `invalid_environment` where no public commit can be named, with what to do.
 */
export async function customNode(
  tree: Tree,
  options: CustomNodeOptions,
  { resolver }: { readonly resolver: PinResolver } = defaultSources(tree.root),
): Promise<void> {
  const { root, document, config } = readEndpoint(tree, options.endpoint);
  const found = await pin(options, resolver);
  const named = options.name === undefined || options.name === '' ? found : { ...found, name: options.name };
  const known = config.customNodes.findIndex((other) => isSamePackage(other, named));
  const before = config.customNodes[known];
  // A name that was chosen before stays: other nodes may look for it.
  const node = before === undefined || options.name !== undefined ? named : { ...named, name: before.name };
  const customNodes =
    before === undefined ? [...config.customNodes, node] : config.customNodes.with(known, node);
  const changed = withKeyAfter(document, 'comfyui', 'customNodes', customNodes);
  parseEndpointConfig(changed);
  writeDocument(tree, `${root}/endpoint.json`, changed);
  await writeDerivedFiles(tree);
  logger.info(sentence(options.endpoint, before, node));
}

function sentence(endpoint: string, before: CustomNode | undefined, node: CustomNode): string {
  const pin = customNodePin(node);
  if (before === undefined) return `${endpoint} has ${node.name} now: ${pin}.`;
  if (customNodePin(before) === pin) return `${endpoint} has ${node.name} already: ${pin}.`;
  return `${endpoint}: ${node.name} moved from ${customNodePin(before)} to ${pin}.`;
}

function pin(
  { checkout, repository, registry, ref }: CustomNodeOptions,
  resolver: PinResolver,
): Promise<CustomNode> {
  const given = [checkout, repository, registry].map((text) => (text === '' ? undefined : text));
  const [folder, address, published] = given;
  if (given.filter((text) => text !== undefined).length === 1) {
    if (folder !== undefined) return pinCheckout(userPath(folder), resolver);
    if (address !== undefined) return pinRepository(address, ref, resolver);
    if (published !== undefined) return pinPublished(published, resolver);
  }
  throw new WorkflowError(
    'invalid_environment',
    'Give one of --checkout=<folder>, --repository=<https address> with or without --ref, or --registry=<id>@<version>.',
  );
}

/** A version of the Comfy registry, with the hash of its archive where the registry can be asked. */
async function pinPublished(published: string, resolver: PinResolver): Promise<CustomNode> {
  const [id = '', version] = published.split('@');
  const node = registryPin(folderName(id), { id, version });
  if (node === undefined) {
    throw new WorkflowError(
      'invalid_environment',
      `--registry is an id and a version of the Comfy registry, such as comfyui-kjnodes@1.1.0, not "${published}".`,
    );
  }
  return { ...node, ...(await resolver.registryArchive?.(id, node.version)) };
}

/** Reads a checkout as a ComfyUI that has nothing but it, so that the same rules hold as for `--from`. */
async function pinCheckout(folder: string, resolver: PinResolver): Promise<CustomNode> {
  if (!existsSync(path.join(folder, '.git'))) {
    throw new WorkflowError('invalid_environment', `${folder} is not the top of a git checkout.`);
  }
  const comfyui = await mkdtemp(path.join(tmpdir(), 'checkout-'));
  try {
    await mkdir(path.join(comfyui, 'custom_nodes'));
    await symlink(folder, path.join(comfyui, 'custom_nodes', path.basename(folder)));
    const { customNodes, unpinned } = await readEnvironment(comfyui, { resolver });
    const [node] = customNodes;
    if (node !== undefined) return node;
    const why = unpinned.find(({ part }) => part === 'node');
    throw new WorkflowError(
      'invalid_environment',
      `${folder} cannot be pinned. ${why === undefined ? '' : `${why.problem} ${why.action}`}`.trim(),
    );
  } finally {
    await rm(comfyui, { recursive: true, force: true });
  }
}

async function pinRepository(
  address: string,
  ref: string | undefined,
  resolver: PinResolver,
): Promise<CustomNode> {
  if (!URL.canParse(address) || new URL(address).protocol !== 'https:') {
    throw new WorkflowError('invalid_environment', `--repository is an https address, not "${address}".`);
  }
  const url = new URL(address);
  if (url.username !== '' || url.password !== '') {
    throw new WorkflowError(
      'invalid_environment',
      `--repository must not have a name or token in it: ${url.host} would be asked with it at every build, by everybody.`,
    );
  }
  const repository = `${url.origin}${url.pathname.replace(/\/+$/, '').replace(/\.git$/, '')}`;
  const name = folderName(repository);
  if (ref !== undefined && /^[0-9a-f]{40}$/.test(ref)) return { name, repository, commit: ref };
  const found = await resolver.commit(repository, ref);
  if (found === undefined || found === 'private') {
    const what = ref === undefined ? 'its newest commit' : `"${ref}"`;
    const why = found === 'private' ? 'it needs a login' : `${what} was not found there`;
    throw new WorkflowError(
      'invalid_environment',
      `${repository} could not be asked: ${why}. Give --ref=<a whole commit of 40 digits>, which needs no network.`,
    );
  }
  return { name, repository, commit: found.commit };
}

/** The document with a key's value; a new key comes after another one, or last. */
function withKeyAfter(
  document: Readonly<Record<string, unknown>>,
  after: string,
  key: string,
  value: unknown,
): Readonly<Record<string, unknown>> {
  if (key in document || !(after in document)) return { ...document, [key]: value };
  return Object.fromEntries(
    Object.entries(document).flatMap((entry) => (entry[0] === after ? [entry, [key, value]] : [entry])),
  );
}
