/**
 * `npm run test:endpoints [-- <template>…]`: ten published workflows of different kinds, each from its file to an endpoint
 * that passes lint, typecheck and its own test, which deploys it with `modal deploy` to the local control plane and runs
 * it there and on the local RunPod. In a copy of the workspace, with a stand-in for the model hub; for some there is none,
 * so that their models are not pinned. Takes minutes, and prints how long each part took.
 */
import { globSync } from 'node:fs';
import { loadavg } from 'node:os';
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

/** Those whose models cannot be looked up: their tests must pass all the same. */
const WITHOUT_HUB = new Set(['image_sdxl_simple', 'text_to_video_wan']);

/** An address that answers nobody. */
const NO_HUB = 'http://127.0.0.1:9';

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
const loadBefore = loadavg();
const rows: Row[] = [];
const wanted = process.argv.slice(2);
for (const template of wanted.length > 0 ? wanted : TEMPLATES) rows.push(await check(template));
console.log(`\n${tableOf(rows)}\n`);
console.log(`Seconds. Load of the machine before: ${shown(loadBefore)}; after: ${shown(loadavg())}.`);
process.exitCode = rows.every(({ problem }) => problem === '') ? 0 : 1;

interface Row {
  readonly template: string;
  /** Seconds of the parts, in their order. */
  readonly seconds: Partial<Record<Part, number>>;
  problem: string;
}

type Part = 'generate' | 'test' | 'lint and typecheck' | 'again';

async function check(template: string): Promise<Row> {
  const name = nameOf(template);
  const file = path.join(workspaceRoot, templates ?? '', `${template}.json`);
  const options = [`--workflow=${file}`, '--no-interactive'];
  const env = { HF_ENDPOINT: WITHOUT_HUB.has(template) ? NO_HUB : hub.address };
  const generate = () => copy.nx(['g', '@ryla/nx-comfyui:workflow-endpoint', name, ...options], env);
  const row: Row = { template, seconds: {}, problem: '' };
  const timed = async <Result>(part: Part, work: () => Promise<Result>): Promise<Result> => {
    const started = performance.now();
    const result = await work();
    row.seconds[part] = (performance.now() - started) / 1000;
    return result;
  };
  try {
    await timed('generate', generate);
    await timed('test', () => copy.nx(['run', `${name}:test`, '--outputStyle=static']));
    if (untilRun(row) * 1000 > LIMIT_MS) row.problem = `took more than ${LIMIT_MS / 1000} s`;
    await timed('lint and typecheck', async () => {
      const targets = ['run-many', '-t', 'validate', 'lint', 'typecheck', '-p', name, '--outputStyle=static'];
      const { stdout } = await copy.nx(targets);
      if (WITHOUT_HUB.has(template) !== stdout.includes('looks them up again'))
        row.problem = 'validate does not say what is not pinned';
      const prettier = path.join(copy.root, 'node_modules/.bin/prettier');
      await copy.run(prettier, ['--check', `apps/endpoints/${name}`]);
    });
    await timed('again', async () => {
      const { stdout } = await generate();
      if (/CREATE|UPDATE|DELETE/.test(stdout)) row.problem = 'the second run changed something';
      await copy.nx(['sync:check']);
    });
  } catch (error) {
    row.problem = 'failed';
    console.error(`${template}:\n${outputOf(error)}`);
  }
  console.log(`${template}: ${untilRun(row).toFixed(1)} s until it ran. ${row.problem}`);
  return row;
}

function untilRun({ seconds }: Row): number {
  return (seconds.generate ?? 0) + (seconds.test ?? 0);
}

/** In Markdown, as docs/generators.md has it. */
function tableOf(all: readonly Row[]): string {
  const parts: readonly Part[] = ['generate', 'test', 'lint and typecheck', 'again'];
  const head = ['template', 'until it ran', ...parts, 'problem'];
  const lines = all.map((row) => [
    row.template,
    untilRun(row).toFixed(1),
    ...parts.map((part) => row.seconds[part]?.toFixed(1) ?? ''),
    row.problem,
  ]);
  const rule = head.map(() => '---');
  return [head, rule, ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function shown(load: readonly number[]): string {
  return load.map((value) => value.toFixed(1)).join(', ');
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
