/**
 * `npm run test:load -- [--jobs 10000] [--rate 200] [--semi-space 16]`: so many jobs in flight on one RunPod endpoint with its
 * real limits; then they end at that rate, each with its webhook. Prints how soon the service noticed, its memory, and every
 * 429.
 */
import { spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    jobs: { type: 'string', default: '10000' },
    rate: { type: 'string', default: '200' },
    'semi-space': { type: 'string', default: '16' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(
    'Usage: npm run test:load -- [--jobs N] [--rate N] [--semi-space MiB]\n\n' +
      'N jobs in flight on one RunPod endpoint with its real limits (1,000 submissions per 10 s: 10,000 take 100 s),\n' +
      'then N completions a second. Ends with exit code 1 after any 429 or lost job.\n\n' +
      "--semi-space is Node's --max-semi-space-size for the service; 0 leaves it to V8, which then gives objects that live\n" +
      'for a moment 128 MiB.',
  );
  process.exit(0);
}

const PROGRAM = path.join(import.meta.dirname, 'load-service.ts');
/** TypeScript that was stripped once is kept here: what strips it would count as the service's memory (30 MiB). */
const CACHE = path.resolve(import.meta.dirname, '../../../node_modules/.cache/ryla-load');

async function run(args: readonly string[], options: SpawnOptions): Promise<number> {
  const semiSpace = values['semi-space'] === '0' ? [] : [`--max-semi-space-size=${values['semi-space']}`];
  const child = spawn(process.execPath, ['--conditions=@ryla/source', ...semiSpace, PROGRAM, ...args], {
    ...options,
    env: { ...process.env, NODE_COMPILE_CACHE: CACHE },
  });
  const ended: unknown[] = await once(child, 'close');
  const code = ended[0];
  return typeof code === 'number' ? code : 1;
}

await run(['1', values.rate], { stdio: 'ignore' });
process.exit(await run([values.jobs, values.rate], { stdio: 'inherit' }));
