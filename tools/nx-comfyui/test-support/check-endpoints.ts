/**
 * `npm run test:endpoints [-- <template>…]`: ten published workflows of different kinds, each from its file to an endpoint
 * that passes lint, typecheck and its own test, which deploys it with `modal deploy` to the local control plane and runs
 * it there and on the local RunPod. In a copy of the workspace, with a stand-in for the model hub. Takes minutes.
 */
import { globSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

import { Hub } from './hub.ts';
import { WorkspaceCopy } from './workspace-copy.ts';

/** Templates of comfyui-workflow-templates-json 0.1.123, which the core catalogue can convert. */
const TEMPLATES = [
  'basic_mask_operations_and_compositing',
  'image_sdxl_simple',
  'flux_fill_inpaint_example',
  'flux_canny_model_example',
  'flux_kontext_dev_basic',
  'image_qwen_image_instantx_controlnet',
  'audio_ace_step_1_t2a_instrumentals',
  'text_to_video_wan',
  'image_to_video_wan',
  '3d_hunyuan3d_multiview_to_model',
];

/** Longest time from the file to an endpoint that has run, in milliseconds: the acceptance limit. */
const LIMIT_MS = 60_000;

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const [templates] = globSync('.venv/lib/python3*/site-packages/comfyui_workflow_templates_json/templates', {
  cwd: workspaceRoot,
});
if (templates === undefined) throw new Error('The templates are not in .venv: run npm run setup.');

using copy = await WorkspaceCopy.make();
await using hub = await Hub.start();
// Once for all of them, as in any workspace.
await copy.run(process.execPath, ['tools/start/src/setup.ts']);
const rows: Record<string, unknown>[] = [];
const wanted = process.argv.slice(2);
for (const template of wanted.length > 0 ? wanted : TEMPLATES) rows.push(await check(template));
console.table(rows);
process.exitCode = rows.every(({ problem }) => problem === '') ? 0 : 1;

async function check(template: string): Promise<Record<string, unknown>> {
  const name = nameOf(template);
  const file = path.join(workspaceRoot, templates ?? '', `${template}.json`);
  const started = performance.now();
  const seconds = () => Math.round((performance.now() - started) / 100) / 10;
  const generator = [
    'g',
    '@ryla/nx-comfyui:workflow-endpoint',
    name,
    `--workflow=${file}`,
    '--no-interactive',
  ];
  const generate = () => copy.nx(generator, { HF_ENDPOINT: hub.address });
  const row = { template, generated: 0, ran: 0, checked: 0, problem: '' };
  try {
    await generate();
    row.generated = seconds();
    await copy.nx(['run', `${name}:test`, '--outputStyle=static']);
    row.ran = seconds();
    if (row.ran * 1000 > LIMIT_MS) row.problem = `took more than ${LIMIT_MS / 1000} s`;
    await copy.nx(['run-many', '-t', 'validate', 'lint', 'typecheck', '-p', name, '--outputStyle=static']);
    await copy.run(path.join(copy.root, 'node_modules/.bin/prettier'), ['--check', `apps/endpoints/${name}`]);
    const { stdout: again } = await generate();
    if (/CREATE|UPDATE|DELETE/.test(again)) row.problem = 'the second run changed something';
    await copy.nx(['sync:check']);
    row.checked = seconds();
  } catch (error) {
    row.problem = 'failed';
    console.error(`${template}:\n${outputOf(error)}`);
  }
  console.log(JSON.stringify(row));
  return row;
}

/** A name for a template: a letter first, at most 40 letters. */
function nameOf(template: string): string {
  const plain = template
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 36)
    .replace(/^-|-$/g, '');
  return /^[a-z]/.test(plain) ? plain : `t-${plain}`;
}

function outputOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const printed = error as Error & { readonly stdout?: string; readonly stderr?: string };
  return [printed.message, printed.stdout ?? '', printed.stderr ?? ''].join('\n');
}
