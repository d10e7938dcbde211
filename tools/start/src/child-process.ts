import { spawn } from 'node:child_process';
import process from 'node:process';

/** How a child process ended, with everything it wrote (both streams, in order of arrival). */
export interface FinishedProcess {
  readonly exitCode: number;
  readonly output: string;
}

/** Options of {@link runProcess}. */
export interface RunProcessOptions {
  readonly cwd?: string;
  /** Added to this process's environment; `undefined` removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal;
  /** Called with each line that the child writes on stdout or stderr. */
  readonly onLine?: (line: string) => void;
}

/** A command that could not be started or ended with another exit code than 0. */
export class CommandFailed extends Error {
  readonly code = 'command_failed';
  readonly exitCode: number | null;
  readonly output: string;
  constructor(command: string, exitCode: number | null, output: string, options?: ErrorOptions) {
    super(
      `${command} failed${exitCode === null ? '' : ` with exit code ${exitCode}`}:\n${lastLines(output, 30)}`,
      options,
    );
    this.name = 'CommandFailed';
    this.exitCode = exitCode;
    this.output = output;
  }
}

/**
 * Runs a command to its end in a process group of its own and returns what it wrote.
 * On abort the whole group is ended before the promise rejects with the signal's reason.
 *
 * @throws {CommandFailed} when it cannot be started or exits with another code than 0.
 */
export async function runProcess(
  command: string,
  args: readonly string[],
  options: RunProcessOptions = {},
): Promise<FinishedProcess> {
  options.signal?.throwIfAborted();
  const child = spawn(command, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const chunks: string[] = [];
  let pending = '';
  const take = (chunk: string): void => {
    chunks.push(chunk);
    const lines = (pending + chunk).split('\n');
    pending = lines.pop() ?? '';
    for (const line of lines) options.onLine?.(line);
  };
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', take);
  const abort = (): void => endGroup(child.pid, 'SIGTERM');
  options.signal?.addEventListener('abort', abort, { once: true });
  try {
    const exitCode = await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve(code ?? (signal === null ? 1 : 128)));
    });
    options.signal?.throwIfAborted();
    if (pending !== '') options.onLine?.(pending);
    const output = chunks.join('');
    if (exitCode !== 0) throw new CommandFailed([command, ...args].join(' '), exitCode, output);
    return { exitCode, output };
  } catch (cause) {
    if (cause instanceof CommandFailed || options.signal?.aborted === true) throw cause;
    throw new CommandFailed(command, null, String(cause), { cause });
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
}

/** Sends a signal to a process group that this program started; a group that is gone already is no error. */
export function endGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function lastLines(text: string, count: number): string {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}
