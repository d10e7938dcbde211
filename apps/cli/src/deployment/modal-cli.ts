import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

import { ComfyUIServiceError } from '@ryla/business';

/** Variables of a child process. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** The real `modal` program of a workspace, in one account and environment. */
export interface ModalCli {
  /** Runs a command and returns what it printed; rejects with what it said when it fails. */
  run(args: readonly string[], options?: ModalOptions): Promise<string>;
}

/** Options of {@link ModalCli.run}. */
export interface ModalOptions {
  readonly env?: Variables;
  readonly signal?: AbortSignal;
  readonly onLog?: (line: string) => void;
}

/** The `modal` program of a workspace's Python environment, pinned by uv.lock. */
export function createModalCli(root: string, variables: Variables): ModalCli {
  const program = path.join(root, '.venv/bin/modal');
  return {
    run(args, { env = {}, signal, onLog } = {}) {
      if (!existsSync(program)) {
        throw new ComfyUIServiceError('invalid_configuration', `There is no ${program}.`, {
          hint: 'Make the Python environment: npm run setup',
        });
      }
      signal?.throwIfAborted();
      const child = spawn(program, [...args], {
        cwd: path.join(root, 'apps/modal'),
        // Task runners set FORCE_COLOR, which would colour even JSON; rich wraps what is wider than COLUMNS.
        env: { ...variables, ...env, FORCE_COLOR: undefined, NO_COLOR: '1', COLUMNS: '500' },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stdout = '';
      let stderr = '';
      const lines = lineReader(onLog);
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
        lines(text);
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
        lines(text);
      });
      // Interrupted as in a terminal, so that modal itself cleans up.
      const interrupt = (): void => void child.kill('SIGINT');
      signal?.addEventListener('abort', interrupt, { once: true });
      return new Promise<string>((resolve, reject) => {
        child.once('error', reject);
        child.once('close', (code) => {
          if (code === 0) resolve(stdout);
          else if (signal?.aborted === true)
            reject(new Error(`\`modal ${args.join(' ')}\` was interrupted.`));
          else reject(new Error(`\`modal ${args.join(' ')}\` failed:\n${lastLines(stderr + stdout)}`));
        });
      }).finally(() => signal?.removeEventListener('abort', interrupt));
    },
  };
}

/** The first address of a web function with this label in what `modal deploy` printed. */
export function printedUrl(text: string, label: string): string | null {
  const pattern = new RegExp(`https?://[a-z0-9-]+--${label}\\.[^\\s]+`);
  return pattern.exec(text)?.[0] ?? null;
}

function lineReader(onLine: ((line: string) => void) | undefined): (text: string) => void {
  let rest = '';
  return (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') onLine?.(line.trimEnd());
  };
}

/** What went wrong stands at the end. */
function lastLines(text: string): string {
  return text.trim().split('\n').slice(-15).join('\n');
}
