/** What Nx knows of the workspace: which endpoints a change affects, and every fingerprint. One process, whatever their number. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

import type { Provider } from '@ryla/business/config';
import { z } from 'zod';

const inspection = z.object({
  /** Projects that are affected, in no order; null where no base was given. */
  affected: z.array(z.string()).nullable(),
  fingerprints: z.record(
    z.string(),
    z.object({
      fingerprint: z.string().regex(/^[0-9A-Za-z]+$/),
      /** Files that are in the hash, from the root. */
      files: z.array(z.string()),
    }),
  ),
});

/** What {@link inspectWorkspace} found. */
export type Inspection = z.infer<typeof inspection>;

/** What is asked of Nx. */
export interface InspectionRequest {
  /** Projects whose fingerprints are wanted, if they are affected. */
  readonly endpoints: readonly string[];
  /** Target whose hash is the fingerprint. */
  readonly target: string;
  /** Commits between which changes count; without head, also those that are in no commit. Null: everything is affected. */
  readonly range: { readonly base: string; readonly head?: string } | null;
}

/** The argument-free target whose hash is an endpoint's fingerprint. */
export const FINGERPRINT_TARGET: Readonly<Record<Provider, string>> = {
  modal: 'fingerprint',
  runpod: 'fingerprint-runpod',
};

/** Beside this file, as source or built. */
const PROGRAM = fileURLToPath(
  new URL(`./nx-inspection-program${path.extname(import.meta.url)}`, import.meta.url),
);

/**
 * Asks Nx in a process of its own: Nx takes its workspace from where it is loaded, once.
 *
 * @throws {Error} with what Nx said, such as a broken project graph.
 */
export function inspectWorkspace(root: string, request: InspectionRequest): Promise<Inspection> {
  const outer = Object.entries(process.env).filter(([name]) => !name.startsWith('NX_'));
  const child = spawn(process.execPath, ['--conditions=@ryla/source', PROGRAM], {
    cwd: root,
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      ...Object.fromEntries(outer),
      NX_DAEMON: 'false',
      NX_ISOLATE_PLUGINS: 'false',
      NX_WORKSPACE_ROOT_PATH: root,
    },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.end(JSON.stringify(request));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      try {
        if (code !== 0) throw new Error(`it ended with ${String(code)}`);
        // Nx and its plugins may print before it: the answer is the last line.
        resolve(inspection.parse(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')));
      } catch (cause) {
        reject(new Error(`Nx could not read the workspace:\n${`${stderr}\n${stdout}`.trim()}`, { cause }));
      }
    });
  });
}
