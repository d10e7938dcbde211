import path from 'node:path';
import process from 'node:process';

import { IS_INSTALLED } from './installation.ts';

/** Root of the workspace that these programs belong to; where they were installed from npm, the one that Nx starts them in. */
export const WORKSPACE_ROOT = IS_INSTALLED
  ? (process.env['NX_WORKSPACE_ROOT'] ?? process.cwd())
  : path.resolve(import.meta.dirname, '../../..');

/** Folder with `.local-clouds/environment.json`: the workspace, unless a test has clouds of its own elsewhere. */
export const LOCAL_CLOUDS_ROOT = process.env['RYLA_LOCAL_CLOUDS_ROOT'] ?? WORKSPACE_ROOT;

/** The endpoint's folder that a target passes as its first argument. */
export function endpointDirectory(positionals: readonly string[]): string {
  const [folder, ...others] = positionals;
  if (folder === undefined || others.length > 0) {
    throw new Error('Give one folder of an endpoint, such as apps/endpoints/photo-finish.');
  }
  return path.resolve(WORKSPACE_ROOT, folder);
}

/** Runs a program's body; what it throws is printed without a stack and ends it with code 1. */
export async function runProgram(body: () => void | Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    console.error(messageOf(error));
    process.exitCode = 1;
  }
}

/** An error's message and those of its causes. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}\n  because: ${messageOf(error.cause)}`;
}
