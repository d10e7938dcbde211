/**
 * `npm run test:load -- [--jobs 10000] [--rate 200] [--large]`: so many jobs in flight on one RunPod endpoint with its
 * real limits; then they end at that rate, each with its webhook. Prints how soon the service noticed, its memory, and every
 * 429.
 */
import { spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';

/**
 * In MiB. V8 gives objects that live for a moment up to 128 otherwise, and lets its heap grow to four times what is alive
 * before it collects.
 */
const SMALL = ['--max-semi-space-size=16', '--max-old-space-size=256'] as const;

const { values } = parseArgs({
  options: {
    jobs: { type: 'string', default: '10000' },
    rate: { type: 'string', default: '200' },
    large: { type: 'boolean', default: false },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  console.log(
    'Usage: npm run test:load -- [--jobs N] [--rate N] [--large]\n\n' +
      'N jobs in flight on one RunPod endpoint with its real limits (1,000 submissions per 10 s: 10,000 take 100 s),\n' +
      'then N completions a second. Ends with exit code 1 after any 429 or lost job.\n\n' +
      `The service runs with ${SMALL.join(' ')}, as in a small container; with --large as much memory\n` +
      'as V8 likes to take.',
  );
  process.exit(0);
}

const PROGRAM = path.join(import.meta.dirname, 'load-service.ts');
/** TypeScript that was stripped once is kept here: what strips it would count as the service's memory (30 MiB). */
const CACHE = path.resolve(import.meta.dirname, '../../../node_modules/.cache/ryla-load');

async function run(args: readonly string[], options: SpawnOptions): Promise<number> {
  const flags = ['--conditions=@ryla/source', ...(values.large ? [] : SMALL)];
  const child = spawn(process.execPath, [...flags, PROGRAM, ...args], {
    ...options,
    env: { ...process.env, NODE_COMPILE_CACHE: CACHE },
  });
  const ended: unknown[] = await once(child, 'close');
  const code = ended[0];
  return typeof code === 'number' ? code : 1;
}

await run(['1', values.rate], { stdio: 'ignore' });
process.exit(await run([values.jobs, values.rate], { stdio: 'inherit' }));
