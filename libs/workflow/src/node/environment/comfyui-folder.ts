import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';

import type { ModelReference } from '../../inventory/model-files.ts';
import { takeInventory } from '../take-inventory.ts';
import type { EnvironmentOptions } from './environment.ts';
import {
  type Findings,
  type ModelFinding,
  type NodeFinding,
  publicRepository,
  releaseVersion,
} from './findings.ts';
import { type GitCheckout, readCheckout } from './git-checkout.ts';
import { modelFolders } from './model-folders.ts';
import { classFinder } from './python-classes.ts';

/** What ComfyUI has in custom_nodes itself. */
const OWN_FILES = new Set(['websocket_image_save.py', 'example_node.py.example', '__pycache__', '.disabled']);

/**
 * Reads a local ComfyUI: its version, each package in custom_nodes with repository and commit, and the model files of
 * the workflow with size and SHA-256 (which reads them whole: some seconds for each 10 GB).
 */
export async function readComfyuiFolder(folder: string, options: EnvironmentOptions): Promise<Findings> {
  const custom = path.join(folder, 'custom_nodes');
  const entries = existsSync(custom) ? readdirSync(custom, { withFileTypes: true }) : [];
  const nodes: NodeFinding[] = [];
  for (const entry of entries.sort((left, right) => (left.name < right.name ? -1 : 1))) {
    if (OWN_FILES.has(entry.name) || entry.name.endsWith('.disabled')) continue;
    const place = path.join(custom, entry.name);
    if (isFolder(place)) nodes.push(await readPackage(place));
    else if (entry.name.endsWith('.py')) nodes.push(singleFile(place));
  }
  const references = options.workflow === undefined ? [] : modelsOf(options);
  const models: ModelFinding[] = [];
  for (const reference of references) models.push(await readModel(folder, reference, options.signal));
  return { kind: 'comfyui', comfyui: await readVersion(folder), gpu: undefined, nodes, models, other: [] };
}

function modelsOf({ workflow, server }: EnvironmentOptions): readonly ModelReference[] {
  const { models } = takeInventory(workflow, server === undefined ? {} : { server });
  return models.filter(({ active }) => active);
}

function isFolder(place: string): boolean {
  return statSync(place, { throwIfNoEntry: false })?.isDirectory() === true;
}

async function readVersion(folder: string): Promise<Findings['comfyui']> {
  const version =
    /^__version__\s*=\s*["'](\d+\.\d+\.\d+)["']/m.exec(
      readText(path.join(folder, 'comfyui_version.py')),
    )?.[1] ??
    /^version\s*=\s*["'](\d+\.\d+\.\d+)["']/m.exec(readText(path.join(folder, 'pyproject.toml')))?.[1];
  const checkout = await readCheckout(folder);
  const commit = checkout?.commit;
  const problem = versionProblem(version, checkout);
  return { version, commit, ...(problem === undefined ? {} : { problem }) };
}

function versionProblem(
  version: string | undefined,
  checkout: GitCheckout | undefined,
): Findings['comfyui']['problem'] {
  if (version === undefined) {
    return {
      code: 'version_unknown',
      problem: 'Neither comfyui_version.py nor pyproject.toml names its version.',
      action: 'Write the release that works for you into comfyui.version.',
    };
  }
  // Files of ComfyUI alone: custom_nodes and models are no part of it.
  const changed = (checkout?.changed ?? []).filter(
    (file) => !/^"?(?:custom_nodes|models|input|output|user)\//.test(file),
  );
  if (changed.length > 0) {
    return {
      code: 'dirty_checkout',
      problem: `ComfyUI itself was changed: ${listed(changed)}.`,
      action: 'Make sure that the workflow runs without the change, or make a custom node of it.',
    };
  }
  const isRelease = (checkout?.tags ?? []).some((tag) => releaseVersion(tag) === version);
  if (checkout?.commit === undefined || isRelease || checkout.tags.length === 0) return undefined;
  return {
    code: 'development_version',
    problem: `It is at commit ${checkout.commit}, which is not the release ${version}.`,
    action: `Check out v${version} or a later release, and see that the workflow runs with it.`,
  };
}

async function readPackage(folder: string): Promise<NodeFinding> {
  const name = path.basename(folder);
  const defines = classFinder(folder);
  const project = readProject(folder);
  const checkout = await readCheckout(folder);
  if (checkout === undefined) return { name, defines, ...withoutCheckout(folder, project) };
  const { url, hadSecret } = publicRepository(checkout.remote ?? '');
  const base = { name, defines, repository: url, commit: checkout.commit };
  const problem = checkoutProblem(checkout, url, hadSecret);
  return problem === undefined ? base : { ...base, problem };
}

/** A package that came from the registry is a folder of files with a list of them, and its pyproject.toml says which. */
function withoutCheckout(
  folder: string,
  project: Project,
): Pick<NodeFinding, 'repository' | 'registry' | 'problem'> {
  const isFromRegistry = existsSync(path.join(folder, '.tracking'));
  if (isFromRegistry && project.name !== undefined)
    return { repository: project.repository, registry: { id: project.name, version: project.version } };
  return {
    repository: project.repository,
    problem: {
      code: 'no_repository',
      problem: 'It is a folder of files without git, so nothing tells which version it is.',
      action: `Install it anew with git clone${project.repository === undefined ? '' : ` ${project.repository}`}, or push it to a repository of yours.`,
    },
  };
}

function checkoutProblem(
  checkout: GitCheckout,
  url: string | undefined,
  hadSecret: boolean,
): NodeFinding['problem'] {
  if (checkout.changed !== undefined && checkout.changed.length > 0) {
    return {
      code: 'dirty_checkout',
      problem: `Files were changed after the commit: ${listed(checkout.changed)}.`,
      action: 'Commit and push the change to a repository of yours and add that, or undo it with git stash.',
    };
  }
  if (checkout.commit === undefined) {
    return {
      code: 'moving_ref',
      problem: 'Its .git folder names no commit.',
      action: 'Install it anew with git clone.',
    };
  }
  if (hadSecret) {
    return {
      code: 'private_repository',
      problem: 'Its remote has a user name or token in the address: others cannot read it.',
      action:
        'Make the repository public, or give the build a read-only key of its own; never a token in endpoint.json.',
    };
  }
  if (url === undefined) {
    return {
      code: 'no_repository',
      problem: 'Its checkout has no remote that others can reach.',
      action: 'Push it to a repository that the build can read, and add that to customNodes.',
    };
  }
  if (checkout.isPublished === false) {
    return {
      code: 'unpublished_commit',
      problem: `Commit ${checkout.commit} is on no branch of its remote.`,
      action: 'Push it, or check out a commit that the remote has.',
    };
  }
  return undefined;
}

function singleFile(file: string): NodeFinding {
  const text = readText(file);
  return {
    name: path.basename(file, '.py'),
    defines: (className) => text.includes(`"${className}"`) || text.includes(`'${className}'`),
    problem: {
      code: 'single_file',
      problem: 'It is a single file in custom_nodes, which belongs to no repository.',
      action:
        'Put it into a repository of its own as __init__.py, and add that to customNodes with its commit.',
    },
  };
}

interface Project {
  readonly name: string | undefined;
  readonly version: string | undefined;
  readonly repository: string | undefined;
}

/** The three keys of a package's pyproject.toml that tell where it is from. */
function readProject(folder: string): Project {
  const text = readText(path.join(folder, 'pyproject.toml'));
  const section = (name: string) => text.split(/^(?=\[)/m).find((part) => part.startsWith(`[${name}]`)) ?? '';
  const key = (part: string, name: string) =>
    new RegExp(`^${name}\\s*=\\s*["']([^"']+)["']`, 'mi').exec(part)?.[1];
  const repository = key(section('project.urls'), '"?Repository"?');
  return {
    name: key(section('project'), 'name'),
    version: key(section('project'), 'version'),
    repository: repository === undefined ? undefined : publicRepository(repository).url,
  };
}

async function readModel(
  folder: string,
  reference: ModelReference,
  signal: AbortSignal | undefined,
): Promise<ModelFinding> {
  const { filename, subfolder } = reference;
  for (const { directory, place } of modelFolders(folder, reference.directory)) {
    const file = path.resolve(place, subfolder ?? '', filename);
    // The name is the workflow's, which may be anybody's: nothing outside the models is read.
    if (
      !file.startsWith(path.resolve(place) + path.sep) ||
      statSync(file, { throwIfNoEntry: false })?.isFile() !== true
    )
      continue;
    const size = statSync(file).size;
    const within = subfolder === undefined ? directory : `${directory}/${subfolder}`;
    return { filename, directory: within, url: reference.url, size, sha256: await sha256Of(file, signal) };
  }
  return {
    filename,
    directory: reference.directory,
    url: reference.url,
    problem: {
      code: 'missing_file',
      problem: `The workflow uses it, and it is not in ${reference.directory === undefined ? 'any folder of models' : `models/${reference.directory}`} here.`,
      action: 'Put it there and read the folder again, or choose another file in the workflow.',
    },
  };
}

async function sha256Of(file: string, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(
    createReadStream(file, { highWaterMark: 1024 * 1024 }),
    hash,
    signal === undefined ? {} : { signal },
  );
  return hash.digest('hex');
}

function readText(file: string): string {
  return statSync(file, { throwIfNoEntry: false })?.isFile() === true ? readFileSync(file, 'utf8') : '';
}

function listed(files: readonly string[]): string {
  const shown = files.slice(0, 5).join(', ');
  return files.length > 5 ? `${shown} and ${files.length - 5} more` : shown;
}
