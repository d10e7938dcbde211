/**
 * UI format to API format beside other converters: how many of the recorded workflows come out as the official frontend
 * made them, and how long one takes. The peers are installed for this run only, into a folder of their own.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { isDeepStrictEqual, promisify } from 'node:util';
import { brotliDecompressSync } from 'node:zlib';

import type { BenchResult } from '@ryla/test-support';
import { z } from 'zod';

import { type ApiWorkflow, isLink, toApiWorkflow } from '../src/index.ts';
import { coreObjectInfo } from '../src/node/index.ts';
import { readTemplate } from '../test-support/template-packages.ts';

/** Pinned, so that the figures say what they are of. */
const COMFY_CLI = '1.23.0';
const COMFYUI_MCP = '0.52.203';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const FOLDER = path.join(workspaceRoot, 'node_modules/.cache/ryla-bench-converters');
const ROUNDS = 5;

/** What a converter made of one workflow; no `api` where it refused. */
const conversion = z.object({ api: z.record(z.string(), z.unknown()).optional(), ms: z.number() });
type Conversion = z.infer<typeof conversion>;

interface Sample {
  readonly name: string;
  readonly ui: unknown;
  readonly expected: ApiWorkflow;
}

interface Tally {
  readonly equal: number;
  /** Other ids of nodes, or inputs left out whose value is empty: ComfyUI most likely makes the same of it. */
  readonly alike: number;
  readonly different: number;
  readonly refused: number;
  readonly 'ms a file': number;
}

/** Equal results and milliseconds a file, ours and each peer's; the whole table goes to stderr. */
export async function run(): Promise<BenchResult[]> {
  const samples = recordedSamples();
  await mkdir(FOLDER, { recursive: true });
  const ours = tally(
    samples,
    convertHere(samples, (ui) => toApiWorkflow(ui, coreObjectInfo())),
  );
  const peers: readonly (readonly [string, Tally])[] = [
    [`comfy-cli ${COMFY_CLI}`, tally(samples, await byComfyCli(samples))],
    [`comfyui-mcp ${COMFYUI_MCP}`, tally(samples, await byComfyuiMcp(samples))],
  ];
  const rows = [['@ryla/workflow', ours] as const, ...peers].map(
    ([name, { equal, alike, different, refused, 'ms a file': ms }]) =>
      `${name}: ${equal} equal, ${alike} alike but for ids and empty values, ${different} different, ${refused} refused, ${ms.toFixed(2)} ms a file`,
  );
  console.error(rows.join('\n'));
  return peers.flatMap(([peerName, peer]) => [
    compared(
      'UI to API as the frontend does',
      'equal',
      `of ${samples.length} workflows`,
      ours,
      peer,
      peerName,
    ),
    compared('UI to API', 'ms a file', 'ms a file', ours, peer, peerName),
  ]);
}

function compared(
  name: string,
  figure: keyof Tally,
  unit: string,
  ours: Tally,
  peer: Tally,
  peerName: string,
): BenchResult {
  return {
    name,
    ours: ours[figure],
    peer: peer[figure],
    peerName,
    ratio: ours[figure] / peer[figure],
    unit,
  };
}

function recordedSamples(): Sample[] {
  const file = path.join(import.meta.dirname, '../fixtures/ui-to-api.json.br');
  const pair = z.object({
    package: z.enum(['comfyui-workflow-templates-json@0.1.123', 'comfyui-workflow-templates@0.1.95']),
    template: z.string(),
    api: z.custom<ApiWorkflow>((value) => typeof value === 'object'),
  });
  const pairs = z
    .record(z.string(), pair)
    .parse(JSON.parse(brotliDecompressSync(readFileSync(file)).toString('utf8')));
  return Object.entries(pairs).map(([name, { package: from, template, api }]) => {
    const ui = readTemplate(from, template);
    if (ui === undefined) throw new Error(`${from} is not in .venv: run npm test once, or uv sync.`);
    return { name, ui, expected: api };
  });
}

/** The best of some rounds over all samples, each time with a fresh copy of the workflow. */
function convertHere(samples: readonly Sample[], convert: (ui: unknown) => object): Conversion[] {
  return samples.map(({ ui }) => {
    let best: Conversion = { ms: Infinity };
    for (let round = 0; round < ROUNDS; round += 1) {
      const copy = structuredClone(ui);
      const started = performance.now();
      let api: object | undefined;
      try {
        api = convert(copy);
      } catch {
        // A refusal; counted as such.
      }
      const ms = Math.min(best.ms, performance.now() - started);
      best = api === undefined ? { ms } : { ms, api: { ...api } };
    }
    return best;
  });
}

async function byComfyuiMcp(samples: readonly Sample[]): Promise<Conversion[]> {
  const manifest = { private: true, dependencies: { 'comfyui-mcp': COMFYUI_MCP } };
  await writeFile(path.join(FOLDER, 'package.json'), JSON.stringify(manifest));
  const flags = ['--omit=optional', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'];
  await promisify(execFile)('npm', ['install', ...flags], { cwd: FOLDER });
  process.env['LOG_LEVEL'] = 'error';
  const file = path.join(FOLDER, 'node_modules/comfyui-mcp/dist/services/workflow-converter.js');
  const { convertUiToApi } = z
    .object({
      convertUiToApi: z.custom<(ui: unknown, info: unknown) => unknown>(
        (value) => typeof value === 'function',
      ),
    })
    .parse(await import(pathToFileURL(file).href));
  const answer = z.object({ workflow: z.record(z.string(), z.unknown()) });
  return convertHere(samples, (ui) => answer.parse(convertUiToApi(ui, coreObjectInfo())).workflow);
}

/** Reads workflows and object_info from one file and prints what comfy-cli makes of each, the best of some rounds. */
const PYTHON = `
import copy, json, logging, sys, time
logging.disable(logging.CRITICAL)
from comfy_cli.workflow_to_api import convert_ui_to_api
task = json.load(open(sys.argv[1]))
answers = []
for workflow in task["workflows"]:
    best, api = float("inf"), None
    for _ in range(task["rounds"]):
        given = copy.deepcopy(workflow)
        started = time.perf_counter()
        try:
            api = convert_ui_to_api(given, task["object_info"])
        except Exception:
            api = None
        best = min(best, time.perf_counter() - started)
    answers.append({"ms": best * 1000, **({} if api is None else {"api": api})})
json.dump(answers, sys.stdout)
`;

async function byComfyCli(samples: readonly Sample[]): Promise<Conversion[]> {
  const target = path.join(FOLDER, 'python');
  const python = path.join(workspaceRoot, '.venv/bin/python');
  const uv = path.join(workspaceRoot, '.tools/bin/uv');
  const wanted = [`comfy-cli==${COMFY_CLI}`];
  await promisify(execFile)(uv, [
    'pip',
    'install',
    '--quiet',
    '--python',
    python,
    '--target',
    target,
    ...wanted,
  ]);
  const task = path.join(FOLDER, 'task.json');
  const workflows = samples.map(({ ui }) => ui);
  await writeFile(task, JSON.stringify({ workflows, object_info: coreObjectInfo(), rounds: ROUNDS }));
  const env = { ...process.env, PYTHONPATH: target, DO_NOT_TRACK: '1' };
  const maxBuffer = 256 * 1024 * 1024;
  const { stdout } = await promisify(execFile)(python, ['-c', PYTHON, task], { env, maxBuffer });
  return z.array(conversion).parse(JSON.parse(stdout));
}

function tally(samples: readonly Sample[], conversions: readonly Conversion[]): Tally {
  const counts = { equal: 0, alike: 0, different: 0, refused: 0 };
  for (const [index, { api }] of conversions.entries()) counts[verdict(api, samples[index]?.expected)] += 1;
  const total = conversions.reduce((sum, { ms }) => sum + ms, 0);
  return { ...counts, 'ms a file': total / conversions.length };
}

function verdict(api: unknown, expected: unknown): 'equal' | 'alike' | 'different' | 'refused' {
  if (api === undefined) return 'refused';
  const [theirs, recorded] = [runPart(api), runPart(expected)];
  if (isDeepStrictEqual(theirs, recorded)) return 'equal';
  return isDeepStrictEqual(shapes(theirs), shapes(recorded)) ? 'alike' : 'different';
}

type RunPart = Record<string, { class_type: string; inputs: Record<string, unknown> }>;

/** What ComfyUI runs: class and inputs of each node, as JSON carries them. */
function runPart(api: unknown): RunPart {
  const node = z.object({ class_type: z.string(), inputs: z.record(z.string(), z.unknown()) });
  return z.record(z.string(), node).parse(JSON.parse(JSON.stringify(api)));
}

/** Each node with all that it depends on, without ids and without empty values, in one order. */
function shapes(workflow: RunPart): string[] {
  const known = new Map<string, string>();
  const shapeOf = (id: string): string => {
    const before = known.get(id);
    if (before !== undefined) return before;
    known.set(id, 'a circle');
    const node = workflow[id];
    const inputs = Object.entries(node?.inputs ?? {})
      .filter(([, value]) => value !== null && value !== '')
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, value]) => [name, isLink(value) ? [hash(shapeOf(value[0])), value[1]] : value]);
    const shape = JSON.stringify([node?.class_type, inputs]);
    known.set(id, shape);
    return shape;
  };
  return Object.keys(workflow).map(shapeOf).sort();
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
