/** `npm start` as a user has it: a child process, its standard output, its files, and what is left of it. */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';

import { runProcess } from './child-process.ts';
import { samePicture } from './picture-comparison.ts';
import { pythonEnvironment } from './python-environment.ts';

const workspaceRoot = path.resolve(import.meta.dirname, '../../..');
const endpoint = path.join(workspaceRoot, 'apps/endpoints/photo-finish');
const { python } = pythonEnvironment(workspaceRoot);
const RUN_MS = 90_000;

const report = z.strictObject({
  results: z.array(
    z.strictObject({
      endpoint: z.literal('photo-finish'),
      backend: z.enum(['modal', 'runpod']),
      jobId: z.uuid(),
      status: z.literal('succeeded'),
      outputs: z.array(z.string()).length(1),
      timings: z.strictObject({
        queueMs: z.number(),
        coldStartMs: z.number(),
        executionMs: z.number(),
        totalMs: z.number(),
      }),
    }),
  ),
  pixelsEqual: z.literal(true),
});

describe('npm start', () => {
  let out = '';
  beforeEach(async () => {
    out = await mkdtemp(path.join(tmpdir(), 'start-'));
  });
  afterEach(() => rm(out, { recursive: true, force: true }));

  it(
    'makes the picture that a direct run makes, on both clouds, and leaves nothing',
    { timeout: RUN_MS },
    async () => {
      const run = start(['--json', '--out', out]);
      const stdout = await run.stdout;
      expect(await run.exitCode).toBe(0);
      const { results } = report.parse(JSON.parse(stdout));
      expect(results.map(({ backend }) => backend)).toEqual(['modal', 'runpod']);
      expect(await run.survivors()).toEqual([]);

      const direct = await runDirectly(path.join(out, 'direct'));
      for (const { outputs } of results)
        expect(await samePicture(outputs[0] ?? '', direct), outputs[0]).toBe(true);
    },
  );

  it('leaves no process and no output when it is interrupted', { timeout: RUN_MS }, async () => {
    const run = start(['--out', out]);
    await run.saw('modal deploy');
    run.interrupt();
    expect(await run.exitCode).toBe(130);
    expect(await run.survivors()).toEqual([]);
    expect(await readdir(out)).toEqual([]);
  });
});

/** Runs the workflow on the engine that the local clouds use, without any cloud; the file it made. */
async function runDirectly(folder: string): Promise<string> {
  const code =
    'import json, os; from local_clouds.engine import engine_environment; print(json.dumps(engine_environment(dict(os.environ))))';
  const engine = await runProcess(python, ['-c', code]);
  const args = ['run', path.join(endpoint, 'workflow.json'), '--out', folder];
  await runProcess(
    python,
    ['-m', 'comfy_worker', ...args, '--file', `photo.jpg=${path.join(endpoint, 'photo.jpg')}`],
    { env: z.record(z.string(), z.string()).parse(JSON.parse(engine.output)) },
  );
  const [file] = await readdir(folder);
  return path.join(folder, file ?? '');
}

interface Run {
  readonly stdout: Promise<string>;
  readonly exitCode: Promise<number | null>;
  /** Resolves when the text has appeared on standard error. */
  saw(text: string): Promise<void>;
  /** Ctrl-C: the signal goes to the whole process group of the terminal. */
  interrupt(): void;
  /** Command lines of the processes that it started, directly or not, and that still run. */
  survivors(): Promise<string[]>;
}

function start(args: readonly string[]): Run {
  const program = path.join(import.meta.dirname, 'start.ts');
  const child = spawn(process.execPath, ['--conditions=@ryla/source', program, ...args], {
    cwd: workspaceRoot,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const seen = new Map<number, string>();
  const watcher = setInterval(() => void watch(child.pid ?? 0, seen), 100);
  let stdout = '';
  let stderr = '';
  const waiting: { readonly text: string; readonly resolve: () => void }[] = [];
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
    for (const { text, resolve } of waiting) if (stderr.includes(text)) resolve();
  });
  const exitCode = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => clearInterval(watcher));
  return {
    exitCode,
    stdout: exitCode.then(() => stdout),
    saw: (text) =>
      Promise.race([
        new Promise<void>((resolve) => waiting.push({ text, resolve })),
        exitCode.then(() => {
          if (!stderr.includes(text)) throw new Error(`It ended before it said "${text}":\n${stderr}`);
        }),
      ]),
    interrupt: () => process.kill(-(child.pid ?? 0), 'SIGINT'),
    async survivors() {
      if (process.platform === 'linux') expect(seen.size).toBeGreaterThan(1);
      const alive = await processes();
      return [...seen].flatMap(([pid, started]) => {
        const found = alive.get(pid);
        return found?.started === started ? [`${pid} ${found.command}`] : [];
      });
    },
  };
}

interface Process {
  readonly parent: number;
  /** Start time in clock ticks: with the pid it names a process once and for all. */
  readonly started: string;
  readonly command: string;
}

/** Adds the descendants that a process has now. */
async function watch(root: number, seen: Map<number, string>): Promise<void> {
  const all = await processes();
  const known = new Set([root, ...seen.keys()]);
  for (let grown = true; grown;) {
    grown = false;
    for (const [pid, { parent, started }] of all) {
      if (known.has(pid) || !known.has(parent)) continue;
      known.add(pid);
      seen.set(pid, started);
      grown = true;
    }
  }
}

/** Processes of this machine by pid, from /proc; none where there is no /proc. Zombies do not count. */
async function processes(): Promise<Map<number, Process>> {
  const found = new Map<number, Process>();
  const names = await readdir('/proc').catch(() => []);
  await Promise.all(
    names.map(async (name) => {
      const pid = Number(name);
      if (!Number.isInteger(pid)) return;
      try {
        const stat = await readFile(`/proc/${name}/stat`, 'utf8');
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        const command = (await readFile(`/proc/${name}/cmdline`, 'utf8')).replaceAll('\0', ' ');
        if (fields[0] !== 'Z')
          found.set(pid, { parent: Number(fields[1]), started: fields[19] ?? '', command });
      } catch {
        // It ended while it was read.
      }
    }),
  );
  return found;
}
