import { logger, readJson, type Tree, updateJson, visitNotIgnoredFiles } from '@nx/devkit';
import { WorkflowError } from '@ryla/workflow';

import { writeDerivedFiles } from '../endpoint/derived-files.ts';
import { endpointNames, endpointRoot } from '../endpoint/endpoint-folder.ts';
import type { RemoveEndpointOptions } from './options.ts';

/**
 * `nx g @ryla/nx-comfyui:remove-endpoint <name>`: removes an endpoint from the workspace. What is deployed stays: the
 * steps to undeploy are printed.
 *
 * @throws {WorkflowError} `invalid_endpoint` where there is none, or where other files import it and `force` is not set.
 */
export async function removeEndpoint(
  tree: Tree,
  { name, force = false }: RemoveEndpointOptions,
): Promise<void> {
  // Not readEndpoint: a broken endpoint must be removable.
  if (!endpointNames(tree).includes(name)) {
    const known = endpointNames(tree).join(', ') || 'none';
    throw new WorkflowError('invalid_endpoint', `There is no endpoint "${name}". There are: ${known}.`);
  }
  const root = endpointRoot(name);
  const users = filesThatImport(tree, root);
  if (users.length > 0 && !force) {
    throw new WorkflowError(
      'invalid_endpoint',
      `${root} is imported by:\n  ${users.join('\n  ')}\nChange them first, or remove it all the same with --force.`,
    );
  }
  const runpod = runpodEndpoint(tree, root);
  tree.delete(root);
  removeWorkspaceEntry(tree, root);
  await writeDerivedFiles(tree);
  logger.info(stepsToUndeploy(name, runpod));
}

/** Source files outside an endpoint's folder that import from it. */
function filesThatImport(tree: Tree, root: string): string[] {
  const folder = root.split('/').slice(-2).join('/');
  const pattern = new RegExp(`['"][^'"\\n]*${folder}/[^'"\\n]*['"]`);
  const found: string[] = [];
  visitNotIgnoredFiles(tree, '.', (file) => {
    if (file.startsWith(`${root}/`) || !/\.[cm]?tsx?$/.test(file)) return;
    const imports = (tree.read(file, 'utf8') ?? '')
      .split('\n')
      .filter((line) => /\bfrom\b|\bimport\b/.test(line));
    if (imports.some((line) => pattern.test(line))) found.push(file);
  });
  return found.sort();
}

function removeWorkspaceEntry(tree: Tree, root: string): void {
  if (!tree.exists('package.json')) return;
  const { workspaces } = readJson<{ workspaces?: unknown }>(tree, 'package.json');
  if (!Array.isArray(workspaces) || !workspaces.includes(root)) return;
  updateJson<{ workspaces: string[] }>(tree, 'package.json', (content) => ({
    ...content,
    workspaces: content.workspaces.filter((entry) => entry !== root),
  }));
}

/** Id of the endpoint on RunPod, where a readable endpoint.json names one. */
function runpodEndpoint(tree: Tree, root: string): string | undefined {
  return /"endpointId"\s*:\s*"([^"]+)"/.exec(tree.read(`${root}/endpoint.json`, 'utf8') ?? '')?.[1];
}

function stepsToUndeploy(name: string, runpod: string | undefined): string {
  return [
    `${name} is gone from the workspace. What is deployed still runs; to end it:`,
    `  modal app stop ryla-${name}`,
    `  modal dict delete ryla-${name}-jobs        # its jobs, which nobody can look up then`,
    runpod === undefined
      ? '  RunPod: delete the endpoint in the console, if there is one (Serverless, the endpoint, Delete)'
      : `  RunPod: delete the endpoint ${runpod} in the console (Serverless, ${runpod}, Delete)`,
    'Models on the volume ryla-models are shared; those that no endpoint names any more: modal volume ls ryla-models',
    'Also look into ryla.config.ts, where routes may name it.',
    '',
  ].join('\n');
}
