/**
 * `npm run test:oracle`: converts every published template with the official frontend in headless Chromium and with
 * this library, and compares. For maintainers: CI compares with recorded results (src/convert/oracle.test.ts).
 */
import process from 'node:process';
import { isDeepStrictEqual, parseArgs } from 'node:util';

import { z } from 'zod';

import {
  type ApiWorkflow,
  type ObjectInfo,
  parseObjectInfo,
  toApiWorkflow,
  WorkflowError,
} from '../src/index.ts';
import { coreObjectInfo } from '../src/node/index.ts';
import { templateTexts } from '../test-support/template-packages.ts';
import { FRONTEND_VERSION, FrontendPage, installFrontend } from './frontend-page.ts';
import { serveFrontend } from './frontend-server.ts';

const PACKAGE = 'comfyui-workflow-templates-json@0.1.123';

const { values, positionals } = parseArgs({
  options: { comfyui: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false } },
  allowPositionals: true,
});
if (values.help) {
  console.log(
    'Usage: npm run test:oracle -- [--comfyui=<url>] [part of a template name …]\n\n' +
      `Converts the templates of ${PACKAGE} with the official frontend in headless Chromium and with\n` +
      '@ryla/workflow, and compares class, inputs and _meta of every node.\n\n' +
      `--comfyui=<url>  the page and classes of a ComfyUI that runs; without it frontend ${FRONTEND_VERSION} and the classes\n` +
      '                 of ComfyUI 0.3.64 are served from here\n' +
      'RYLA_CHROMIUM    the Chromium to use; without it one of this machine, on Linux else one from npm\n\n' +
      'What it needs is installed into node_modules/.cache/ryla-oracle and ryla-chromium (about 420 MB). Skipped where it cannot be had.',
  );
  process.exit(0);
}

const prerequisites = await prepare().catch((error: unknown) => {
  console.log(`skipped: ${error instanceof Error ? error.message : String(error)}`);
  return undefined;
});
if (prerequisites !== undefined) {
  await using page = prerequisites.page;
  process.exitCode = (await compareAll(page, prerequisites.files, values.comfyui)) ? 0 : 1;
}

async function prepare(): Promise<{ page: FrontendPage; files: string | undefined }> {
  const files = values.comfyui === undefined ? await installFrontend() : undefined;
  return { files, page: await FrontendPage.launch() };
}

async function compareAll(
  page: FrontendPage,
  files: string | undefined,
  comfyui: string | undefined,
): Promise<boolean> {
  const objectInfo = comfyui === undefined ? coreObjectInfo() : await askObjectInfo(comfyui);
  await using server = files === undefined ? undefined : await serveFrontend(files, objectInfo);
  await page.open(server?.url ?? z.string().parse(comfyui));
  const table = { templates: 0, equal: 0, different: 0, refused: 0 };
  for (const [name, text] of templateTexts(PACKAGE)) {
    if (positionals.length > 0 && !positionals.some((part) => name.includes(part))) continue;
    table.templates += 1;
    const ours = convertOrRefuse(text, objectInfo);
    if (ours === undefined) {
      table.refused += 1;
      continue;
    }
    const differing = differences(ours, await page.convert(JSON.parse(text)));
    table[differing.length === 0 ? 'equal' : 'different'] += 1;
    for (const difference of differing) console.log(`${name}: ${difference}`);
  }
  console.table(table);
  return table.different === 0;
}

async function askObjectInfo(comfyui: string): Promise<ObjectInfo> {
  const response = await fetch(new URL('object_info', comfyui.endsWith('/') ? comfyui : `${comfyui}/`));
  return parseObjectInfo(await response.json());
}

function convertOrRefuse(text: string, objectInfo: ObjectInfo): ApiWorkflow | undefined {
  try {
    return toApiWorkflow(JSON.parse(text), objectInfo);
  } catch (error) {
    if (WorkflowError.isInstance(error) && error.code === 'unknown_class') return undefined;
    throw error;
  }
}

function differences(ours: ApiWorkflow, page: unknown): string[] {
  const theirs = z.record(z.string(), z.unknown()).parse(page);
  return [...new Set([...Object.keys(ours), ...Object.keys(theirs)])]
    .filter((id) => !isDeepStrictEqual(ours[id], theirs[id]))
    .map((id) => `node ${id} is ${JSON.stringify(ours[id])} here and ${JSON.stringify(theirs[id])} there`);
}
