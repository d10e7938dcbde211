/**
 * `npm run bench`: every benchmark of the workspace in one run, each beside its peer or raw limit.
 * A benchmark is a module `<project>/bench/<subject>.bench.ts` that exports `run(): Promise<BenchResult[]>`
 * (libs/test-support).
 */
import { glob } from 'node:fs/promises';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';

import { z } from 'zod';

import { setUpPython } from './python-environment.ts';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');

/** One line of `npm run bench -- --json`. A ratio above 1 means that ours is the larger figure. */
const benchResult = z.strictObject({
  name: z.string(),
  ours: z.number(),
  peer: z.number(),
  peerName: z.string(),
  ratio: z.number(),
  unit: z.string(),
});
const benchModule = z.object({ run: z.function({ input: [], output: z.promise(z.array(benchResult)) }) });

const { values, positionals } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
  allowPositionals: true,
});
if (values.help) {
  console.log(
    'Usage: npm run bench -- [--json] [part of a benchmark file name …]\n\n' +
      'Runs the benchmarks of the workspace. --json prints one object a line: {name, ours, peer, peerName, ratio, unit}.\n' +
      'Timings mean something on a quiet machine only; docs/benchmarks.md has figures with their conditions.',
  );
  process.exit(0);
}

await setUpPython({ workspaceRoot, onStep: (step) => console.error(`setup: ${step}`) });
const files = (
  await Array.fromAsync(glob('{apps,libs,tools}/*/bench/*.bench.ts', { cwd: workspaceRoot }))
).sort();
const chosen = files.filter(
  (file) => positionals.length === 0 || positionals.some((part) => file.includes(part)),
);
if (chosen.length === 0) {
  console.error(`No benchmark matches ${positionals.join(' ')}. There are:\n  ${files.join('\n  ')}`);
  process.exit(1);
}
for (const file of chosen) {
  if (!values.json) console.error(`# ${file}`);
  const module = benchModule.parse(await import(path.join(workspaceRoot, file)));
  for (const result of await module.run()) {
    console.log(
      values.json
        ? JSON.stringify(result)
        : `${result.name}: ${figure(result.ours)} ${result.unit}, ${result.peerName} ${figure(result.peer)} ${result.unit}, ratio ${result.ratio.toFixed(2)}`,
    );
  }
}

function figure(value: number): string {
  return value.toLocaleString('en', { maximumSignificantDigits: 4 });
}
