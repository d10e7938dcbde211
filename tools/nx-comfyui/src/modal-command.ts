import { spawn } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';

import { WORKSPACE_ROOT } from './command-line.ts';

/** Variables of a child process. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** The real `modal` program of the workspace's environment, pinned by uv.lock. */
export const MODAL = path.join(WORKSPACE_ROOT, '.venv/bin/modal');

/** Where `modal` is started: the folder of its app files. */
export const MODAL_FOLDER = path.join(WORKSPACE_ROOT, 'apps/modal');

/** Runs `modal` in this terminal and returns its exit code; a signal for this process is passed on. */
export function runModal(args: readonly string[], env: Variables): Promise<number> {
  const child = spawn(MODAL, args, { cwd: MODAL_FOLDER, env, stdio: 'inherit' });
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.on('SIGINT', pass).on('SIGTERM', pass);
  return new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  }).finally(() => process.off('SIGINT', pass).off('SIGTERM', pass));
}

/**
 * What a `modal` command prints.
 *
 * @throws {Error} with what it said when it fails.
 */
export function askModal(args: readonly string[], env: Variables): Promise<string> {
  // Task runners set FORCE_COLOR, which would colour even JSON; rich wraps what is wider than COLUMNS.
  const plain = { ...env, FORCE_COLOR: undefined, NO_COLOR: '1', COLUMNS: '500' };
  const child = spawn(MODAL, args, { cwd: MODAL_FOLDER, env: plain, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`\`modal ${args.join(' ')}\` failed:\n${(stderr + stdout).trim()}`));
    });
  });
}
