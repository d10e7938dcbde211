import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';

import { getProjects, logger, type Tree } from '@nx/devkit';
import { canonicalWorkflow, parseEndpointConfig, WorkflowError } from '@ryla/workflow';
import { coreObjectInfo } from '@ryla/workflow/node';

import { writeDerivedFiles } from '../endpoint/derived-files.ts';
import { endpointDocument, inferInterface, type ProviderChoice } from '../endpoint/endpoint-document.ts';
import {
  checkName,
  endpointRoot,
  ORIGINAL,
  readEndpoint,
  writeDocument,
  writeOriginal,
} from '../endpoint/endpoint-folder.ts';
import { IS_INSTALLED } from '../../installation.ts';
import { isFile, isNeeded } from '../endpoint/input-words.ts';
import { readObjectInfo } from '../endpoint/object-info-source.ts';
import { newReadme } from '../endpoint/readme.ts';
import { defaultSources, findRequirements, type RequirementSources } from '../endpoint/requirements.ts';
import { sampleFor } from '../endpoint/sample-media.ts';
import { userPath } from '../endpoint/user-path.ts';
import { readWorkflow, type WorkflowSource } from '../endpoint/workflow-source.ts';
import type { WorkflowEndpointOptions } from './options.ts';
import { clientTest, installedTsconfig, TSCONFIG, vitestConfig } from './project-files.ts';
import { report } from './report.ts';

/** What a generator looks things up with; tests put their own in its place. */
export type Sources = Pick<RequirementSources, 'resolver' | 'nodeMap'>;

/** Largest file of the user's ComfyUI that is taken as a sample, in bytes. */
const LARGEST_SAMPLE = 4 * 1024 * 1024;

/**
 * `nx g @ryla/nx-comfyui:workflow-endpoint <name> --workflow=<file>`: an endpoint of a workflow file. Run again with the
 * same file it changes nothing.
 *
 * @throws {WorkflowError} where the name is taken or none, or the file is not a workflow that could run.
 */
export async function workflowEndpoint(
  tree: Tree,
  options: WorkflowEndpointOptions,
  sources: Sources = defaultSources(tree.root),
): Promise<void> {
  const { name, provider = 'both' } = options;
  checkName(name);
  const server =
    given(options.objectInfo) === undefined ? undefined : await readObjectInfo(options.objectInfo ?? '');
  const objectInfo = { ...coreObjectInfo(), ...server };
  const source = await readWorkflow(options.workflow, objectInfo, sources.nodeMap);
  if (isMadeAlready(tree, name, source)) {
    logger.info(
      `${endpointRoot(name)} is made of this workflow already. To use a changed one: update-endpoint.`,
    );
    await writeDerivedFiles(tree);
    return;
  }
  const requirements = await findRequirements(source.original, {
    ...sources,
    from: given(options.from),
    server,
  });
  const { inputs, outputs } = inferInterface(source.workflow, objectInfo);
  const { workflow } = source;
  const { title, description } = options;
  const root = endpointRoot(name);
  writeDocument(
    tree,
    `${root}/endpoint.json`,
    endpointDocument({ name, provider, workflow, inputs, outputs, requirements, title, description }),
  );
  writeDocument(tree, `${root}/workflow.json`, canonicalWorkflow(workflow));
  writeOriginal(tree, root, source.bytes);
  const saved = outputs.filter(({ output }) => !isPreview(workflow[output.node]?.class_type ?? ''));
  const savesPictures = saved.some(({ output }) => output.type === 'image');
  const asksPartners = requirements.inventory.partnerNodes.length > 0;
  writeProject(tree, name, { provider, savesPictures, asksPartners, from: options.from });
  const unreadable = await writeDerivedFiles(tree);
  if (saved.length === 0) logger.warn(ONLY_SHOWS);
  logger.info(report({ name, provider, source, inputs, outputs, requirements }));
  for (const { name: other, problem } of unreadable) logger.warn(`${other}: ${problem}`);
}

const ONLY_SHOWS =
  'The workflow only shows its results and saves none, so that nothing comes back: put Save Image in the place of Preview Image.';

function isPreview(className: string): boolean {
  return /preview|compare/i.test(className);
}

/** An answer that was left empty is none. */
function given(text: string | undefined): string | undefined {
  return text === undefined || text.trim() === '' ? undefined : text;
}

/** @throws {WorkflowError} where something else has the name. */
function isMadeAlready(tree: Tree, name: string, source: WorkflowSource): boolean {
  const root = endpointRoot(name);
  const original = tree.exists(`${root}/${ORIGINAL}`) ? tree.read(`${root}/${ORIGINAL}`) : null;
  if (original?.equals(source.bytes) === true && tree.exists(`${root}/endpoint.json`)) return true;
  if (tree.exists(root)) {
    throw new WorkflowError(
      'invalid_endpoint',
      `${root} is there already. Choose another name, or put the workflow into it: npx nx g @ryla/nx-comfyui:update-endpoint ${name} --workflow=<file>`,
    );
  }
  if (getProjects(tree).has(name)) {
    throw new WorkflowError(
      'invalid_endpoint',
      `The workspace has a project "${name}" already. Choose another name.`,
    );
  }
  return false;
}

interface ProjectChoices {
  readonly provider: ProviderChoice;
  readonly savesPictures: boolean;
  readonly asksPartners: boolean;
  readonly from: string | undefined;
}

/** What is written once, and belongs to the endpoint's author from then on. */
function writeProject(
  tree: Tree,
  name: string,
  { provider, savesPictures, asksPartners, from }: ProjectChoices,
): void {
  const endpoint = readEndpoint(tree, name);
  const { root } = endpoint;
  const config = parseEndpointConfig(endpoint.document);
  const samples = new Map<string, string>();
  for (const [input, declared] of Object.entries(config.inputs)) {
    if (!isFile(declared) || !isNeeded(declared)) continue;
    const used = endpoint.workflow as Readonly<
      Record<string, { readonly inputs: Readonly<Record<string, unknown>> }>
    >;
    const own = ownSample(from, used[declared.node]?.inputs[declared.field]);
    const sample = own ?? sampleFor(declared.type);
    samples.set(input, sample?.name ?? 'sample.mp4');
    if (sample !== undefined) tree.write(`${root}/${sample.name}`, sample.bytes);
  }
  if (IS_INSTALLED) tree.write(`${root}/tsconfig.json`, installedTsconfig(tree));
  else {
    const missing = [...samples.values()].find((file) => !tree.exists(`${root}/${file}`));
    const notLocally = asksPartners
      ? 'its nodes call a paid service, which has no stand-in.'
      : missing && `there is no ${missing} beside it yet. Copy the test of another endpoint when there is.`;
    tree.write(`${root}/tsconfig.json`, TSCONFIG);
    tree.write(`${root}/vitest.config.ts`, vitestConfig(name));
    tree.write(
      `${root}/client.test.ts`,
      clientTest({ config, provider, samples, savesPictures, notLocally }),
    );
  }
  const [sample] = samples.values();
  tree.write(
    `${root}/README.md`,
    newReadme(endpoint, sample === undefined ? {} : { sample: `${root}/${sample}` }),
  );
}

/** The file that the workflow itself uses, where the user's ComfyUI folder has it. */
function ownSample(from: string | undefined, value: unknown): ReturnType<typeof sampleFor> {
  const folder = given(from);
  if (folder === undefined || typeof value !== 'string' || !/^[\w.-]+$/.test(value)) return undefined;
  const file = path.join(userPath(folder), 'input', value);
  const found = statSync(file, { throwIfNoEntry: false });
  if (found?.isFile() !== true || found.size > LARGEST_SAMPLE) return undefined;
  return { name: `sample${path.extname(value).toLowerCase()}`, bytes: readFileSync(file) };
}
