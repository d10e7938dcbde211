import path from 'node:path';

import type { Tree } from '@nx/devkit';
import { type EndpointConfig, endpointConfig, parseEndpointConfig, WorkflowError } from '@ryla/workflow';

/** Where endpoints are, from the root of the workspace. */
export const ENDPOINTS = 'apps/endpoints';

/** The workflow as its author saved it, byte for byte, beside endpoint.json. */
export const ORIGINAL = 'workflow.original.json';

/** Names of apps that are not an endpoint's: `ryla-comfyui` is the app that runs any workflow. */
const RESERVED = new Set(['comfyui']);

/** An endpoint as its folder has it. */
export interface EndpointFolder {
  /** From the root of the workspace, such as `apps/endpoints/photo-finish`. */
  readonly root: string;
  /** endpoint.json as it is written. */
  readonly document: Readonly<Record<string, unknown>>;
  /** endpoint.json with its defaults. */
  readonly config: EndpointConfig;
  /** The workflow in API format. */
  readonly workflow: unknown;
  /** The workflow as its author saved it; the API format where there is no such file. */
  readonly original: unknown;
}

/** Folder of an endpoint from the root of the workspace. */
export function endpointRoot(name: string): string {
  return path.posix.join(ENDPOINTS, name);
}

/**
 * Checks that a name may be that of an endpoint: a label of a web address, of at most 40 characters.
 *
 * @throws {WorkflowError} `invalid_endpoint`, saying what a name is made of.
 */
export function checkName(name: string): void {
  const checked = endpointConfig.shape.name.safeParse(name);
  if (!checked.success) {
    const problems = checked.error.issues.map(({ message }) => message).join('; ');
    throw new WorkflowError(
      'invalid_endpoint',
      `${JSON.stringify(name)} cannot be the name of an endpoint: ${problems}.`,
    );
  }
  if (RESERVED.has(name)) {
    throw new WorkflowError(
      'invalid_endpoint',
      `"${name}" cannot be the name of an endpoint: its app would be ryla-${name}, which runs any workflow.`,
    );
  }
}

/**
 * Reads an endpoint from the tree.
 *
 * @throws {WorkflowError} `invalid_endpoint` where there is none of that name or its files cannot be read.
 */
export function readEndpoint(tree: Tree, name: string): EndpointFolder {
  const root = endpointRoot(name);
  if (!tree.exists(`${root}/endpoint.json`)) {
    const known = endpointNames(tree).join(', ') || 'none';
    throw new WorkflowError('invalid_endpoint', `There is no endpoint "${name}". There are: ${known}.`);
  }
  const document = readJson(tree, `${root}/endpoint.json`);
  const config = parseEndpointConfig(document);
  const workflow = readJson(tree, `${root}/${config.workflow}`);
  const original = `${root}/${ORIGINAL}`;
  return {
    root,
    document: document as Readonly<Record<string, unknown>>,
    config,
    workflow,
    original: tree.exists(original) ? readJson(tree, original) : workflow,
  };
}

/** Names of the endpoints in the tree, sorted. */
export function endpointNames(tree: Tree): string[] {
  return tree
    .children(ENDPOINTS)
    .filter((name) => tree.exists(`${endpointRoot(name)}/endpoint.json`))
    .sort();
}

/** Writes JSON on one line: prettier then breaks only what is too long, as a person would. */
export function writeDocument(tree: Tree, file: string, value: unknown): void {
  tree.write(file, `${JSON.stringify(value)}\n`);
}

/** Writes the workflow as its author saved it; prettier is told to leave such files as they are. */
export function writeOriginal(tree: Tree, root: string, bytes: Buffer): void {
  const ignored = tree.exists(IGNORE_FILE) ? (tree.read(IGNORE_FILE, 'utf8') ?? '') : '';
  const line = `${ENDPOINTS}/*/${ORIGINAL}`;
  if (!ignored.split('\n').includes(line)) {
    const end = ignored === '' || ignored.endsWith('\n') ? '' : '\n';
    tree.write(IGNORE_FILE, `${ignored}${end}${line}\n`);
  }
  tree.write(`${root}/${ORIGINAL}`, bytes);
}

const IGNORE_FILE = '.prettierignore';

function readJson(tree: Tree, file: string): unknown {
  const text = tree.read(file, 'utf8');
  if (text === null) throw new WorkflowError('invalid_endpoint', `${file} is missing.`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WorkflowError('invalid_endpoint', `${file} is not valid JSON.`, { cause });
  }
}
