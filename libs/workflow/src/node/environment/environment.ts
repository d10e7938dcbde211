import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';

import type { EndpointConfig } from '../../endpoint-config.ts';
import type { NodeMap } from '../../inventory/node-map.ts';
import type { ObjectInfo } from '../../object-info.ts';
import { WorkflowError } from '../../workflow-error.ts';
import { readComfyBuild } from './comfy-build.ts';
import { readComfyuiFolder } from './comfyui-folder.ts';
import { readDockerfile } from './dockerfile.ts';
import type { Findings } from './findings.ts';
import { readManagerSnapshot } from './manager-snapshot.ts';
import { readModalScript } from './modal-script.ts';
import { pinFindings } from './pin-findings.ts';
import type { PinResolver } from './pin-resolver.ts';

/** What an environment was read from. */
export type EnvironmentKind = 'comfyui' | 'manager-snapshot' | 'comfy-build' | 'dockerfile' | 'modal';

/** Stable codes of {@link UnpinnedPart}. */
export type UnpinnedCode =
  | 'dirty_checkout'
  | 'unpublished_commit'
  | 'private_repository'
  | 'no_repository'
  | 'moving_ref'
  | 'registry_version'
  | 'single_file'
  | 'missing_node'
  | 'missing_file'
  | 'no_public_source'
  | 'private_source'
  | 'moving_url'
  | 'different_file'
  | 'unverified_file'
  | 'unknown_directory'
  | 'copied_file'
  | 'computed'
  | 'version_unknown'
  | 'development_version';

/** A part of the environment that endpoint.json cannot name as it is, and what to do about it. */
export interface UnpinnedPart {
  readonly part: 'comfyui' | 'node' | 'model';
  /** Name of the package, file name of the model, or the text of the line. */
  readonly name: string;
  readonly code: UnpinnedCode;
  /** What is the matter, in a sentence. */
  readonly problem: string;
  /** What to do, in a sentence. */
  readonly action: string;
  /** What is known for the entry that a person then writes. Never holds a password or token. */
  readonly known: Readonly<Record<string, string | number>>;
}

/** An environment as parts of endpoint.json, and what is left to a person. */
export interface Environment {
  readonly kind: EnvironmentKind;
  /** Version of ComfyUI, where it is known. */
  readonly comfyui: { readonly version: string } | undefined;
  readonly customNodes: EndpointConfig['customNodes'];
  readonly models: EndpointConfig['models'];
  /** GPU that the source asks for, as it writes it. */
  readonly gpu: string | undefined;
  readonly unpinned: readonly UnpinnedPart[];
  /** Package that has each custom class of the workflow, where that is known. */
  readonly classes: Readonly<Record<string, string>>;
  /** Custom classes of the workflow for which no package was found. */
  readonly missingClasses: readonly string[];
  /** Packages that the workflow does not use; they are left out. */
  readonly unused: readonly string[];
}

/** What {@link readEnvironment} may know beside its source. */
export interface EnvironmentOptions {
  /** The workflow, in either format: only what it uses is kept. Without it all packages are, and no local models. */
  readonly workflow?: unknown;
  readonly server?: ObjectInfo;
  readonly nodeMap?: NodeMap;
  /** Public https addresses of model files by file name, beside those that the workflow declares. */
  readonly modelSources?: ReadonlyMap<string, string>;
  /** Asks the network for commits, sizes and hashes; without it what is not written down stays unpinned. */
  readonly resolver?: PinResolver;
  readonly signal?: AbortSignal;
}

/**
 * Reads what already works on the user's side: a local ComfyUI folder, a ComfyUI-Manager snapshot (.json, .yaml), a
 * comfy-build.yaml, a Dockerfile like worker-comfyui's, or a Modal script (.py). Which it is, its name and content say.
 * Nothing in it is run; of a local folder git is asked whether checkouts are clean.
 *
 * @throws {WorkflowError} `invalid_environment` where the source is none of these or cannot be read.
 */
export async function readEnvironment(
  source: string,
  options: EnvironmentOptions = {},
): Promise<Environment> {
  return pinFindings(await readFindings(source, options), options);
}

async function readFindings(source: string, options: EnvironmentOptions): Promise<Findings> {
  const name = path.basename(source);
  if (isFolder(source)) {
    const entries = readdirSync(source);
    if (entries.includes('main.py') || entries.includes('custom_nodes'))
      return readComfyuiFolder(source, options);
    throw new WorkflowError(
      'invalid_environment',
      `${source} is no ComfyUI folder: it has no main.py and no custom_nodes.`,
    );
  }
  if (/dockerfile/i.test(name)) return readDockerfile(source);
  if (name.endsWith('.py')) return readModalScript(source);
  if (/\.(?:ya?ml|json)$/i.test(name)) return readComfyBuild(source) ?? readManagerSnapshot(source);
  throw new WorkflowError(
    'invalid_environment',
    `${source}: give a ComfyUI folder, a ComfyUI-Manager snapshot (.json or .yaml), a comfy-build.yaml, a Dockerfile or a Modal script (.py).`,
  );
}

function isFolder(source: string): boolean {
  try {
    return statSync(source).isDirectory();
  } catch (cause) {
    throw new WorkflowError('invalid_environment', `${source} cannot be read.`, { cause });
  }
}
