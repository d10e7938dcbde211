/** Where a command acts: a workspace, a cloud, an environment. */
import process from 'node:process';

import {
  describeTarget,
  endpointsFolder,
  type Provider,
  type ResolvedConfig,
  stateFolder,
} from '@ryla/business/config';

import { UsageError } from '../exit-codes.ts';
import { createOutput, type Output } from '../output.ts';
import { findWorkspace, type Workspace } from '../workspace.ts';
import { adoptionRecords } from './adoption-records.ts';
import type { EndpointFolder, Selection } from './candidates.ts';
import type { Cloud } from './cloud.ts';
import type { CloudOptions, DeployOptions } from './command-options.ts';
import type { Scope } from './deployment-document.ts';
import { createModalCloud } from './modal-cloud.ts';
import { createRunPodCloud } from './runpod-cloud.ts';
import { readImages } from './runpod-images.ts';

/** Exit code of changes that are pending, or of drift. */
export const PENDING = 3;

/** Runs a command's body; says on stderr where it acts. */
export async function inEnvironment(
  options: CloudOptions,
  body: (workspace: Workspace, output: Output) => Promise<void>,
): Promise<void> {
  const output = createOutput(options.json === true);
  const workspace = await findWorkspace(options.target);
  const environment = options.environment === undefined ? '' : `, environment ${options.environment}`;
  output.note(`Target: ${describeTarget(reached(workspace))}, ${options.provider}${environment}`);
  await body(workspace, output);
}

/** The workspace with the local clouds that it uses; tests, and the targets of Nx, may have them elsewhere. */
export function reached(workspace: Workspace): ResolvedConfig {
  return { ...workspace, root: process.env['RYLA_LOCAL_CLOUDS_ROOT'] ?? workspace.root };
}

/** Where a workspace's endpoints are. */
export function placeOf(workspace: Workspace, provider: Provider): EndpointFolder {
  return { root: workspace.root, folder: endpointsFolder(workspace), provider };
}

/**
 * The cloud that was chosen.
 *
 * @throws {UsageError} for options of the other cloud.
 * @throws {ComfyUIServiceError} `invalid_configuration` where the target cannot be reached as it is set up.
 */
export function cloudOf(
  workspace: Workspace,
  options: CloudOptions & { readonly smoke: boolean } & Partial<Pick<DeployOptions, 'image' | 'images'>>,
): Cloud {
  const { provider, environment, smoke, image = [], images } = options;
  const resolved = reached(workspace);
  if (provider === 'runpod')
    return createRunPodCloud({
      resolved,
      environment,
      images: readImages(image, images),
      records: adoptionRecords(stateFolder(resolved)),
    });
  if (image.length > 0 || images !== undefined)
    throw new UsageError('--image and --images belong to --provider runpod: Modal builds its images itself.');
  return createModalCloud({ resolved, workspaceRoot: workspace.root, environment, smoke });
}

/** What a document is about. */
export function scopeOf(
  workspace: Workspace,
  cloud: Cloud,
  head: string | null,
  selection: Selection,
): Scope {
  const base = selection.kind === 'affected' ? selection.range.base : null;
  const { provider, environment } = cloud;
  return { target: workspace.target, provider, environment, base, head };
}
