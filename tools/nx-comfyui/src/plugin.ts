/** What Nx loads: every `apps/endpoints/<name>/endpoint.json` is a project. */
import { readFileSync } from 'node:fs';
import path from 'node:path';

import type {
  CreateNodes,
  CreateNodesContext,
  CreateNodesResultArray,
  ProjectConfiguration,
  ProjectGraphExternalNode,
} from '@nx/devkit';

import { type EndpointOutline, endpointProject, MODAL_PACKAGES, readOutline } from './endpoint-project.ts';
import { IS_INSTALLED } from './installation.ts';
import { installedProject } from './installed-project.ts';
import { pythonPackagesHash } from './python-packages.ts';

/** Name under which Nx reports this plugin. */
export const name = '@ryla/nx-comfyui';

/** Where endpoints are, from the root of the workspace. */
export const ENDPOINT_GLOB = 'apps/endpoints/*/endpoint.json';

/** The Python project whose packages a deployment on Modal runs with. */
const MODAL_PROJECT = 'ryla-modal';

function inferProjects(
  files: readonly string[],
  _options: unknown,
  context: Pick<CreateNodesContext, 'workspaceRoot'>,
): CreateNodesResultArray {
  return files.map((file, index) => {
    const root = path.posix.dirname(file);
    const outline = readOutline(textOf(path.join(context.workspaceRoot, file)));
    const projects = { [root]: projectOf(root, outline, context.workspaceRoot) };
    if (index > 0 || IS_INSTALLED) return [file, { projects }];
    return [file, { projects, externalNodes: pythonNodes(context.workspaceRoot) }];
  });
}

function projectOf(root: string, outline: EndpointOutline, workspaceRoot: string): ProjectConfiguration {
  if (!IS_INSTALLED) return endpointProject(root, outline);
  const programs = path
    .relative(workspaceRoot, import.meta.dirname)
    .split(path.sep)
    .join('/');
  return installedProject(root, outline, programs);
}

/** What uv.lock pins for the apps: its other packages are none of a deployment's business. */
function pythonNodes(workspaceRoot: string): Record<string, ProjectGraphExternalNode> {
  const hash = pythonPackagesHash(textOf(path.join(workspaceRoot, 'uv.lock')), MODAL_PROJECT);
  const data = { version: hash.slice(0, 12), packageName: MODAL_PROJECT, hash };
  return { [MODAL_PACKAGES]: { type: 'python', name: MODAL_PACKAGES, data } };
}

/** One project per endpoint.json. A bad one is a project too, whose `validate` fails. */
export const createNodes: CreateNodes = [ENDPOINT_GLOB, inferProjects];

/** The name of {@link createNodes} for older versions of Nx. */
export const createNodesV2: CreateNodes = createNodes;

function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    // Deleted or unreadable since Nx listed it: `validate` says so; the graph stays whole.
    return '';
  }
}
