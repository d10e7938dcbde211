import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import path from 'node:path';
import process from 'node:process';

/** Programs of the workspace's Python environment. */
export const bin = path.resolve(import.meta.dirname, '../../../.venv/bin');

/** Milliseconds that the clouds have to end what they started. */
const STOP_GRACE_MS = 20_000;

/** How the clouds are started. */
export interface CloudsProcessOptions {
  /** Folder of their state. */
  readonly stateDir: string;
  readonly args?: readonly string[];
  /** Laid over this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** File for their log; nowhere without it. */
  readonly log?: string;
  /** Whether they are out of reach of a terminal's Ctrl-C. */
  readonly detached?: boolean;
}

/** The local clouds in a child process; disposing it ends them. */
export class CloudsProcess implements AsyncDisposable {
  /** The line that `local-clouds` printed. */
  readonly printed: string;
  readonly #child: ChildProcess;

  private constructor(printed: string, child: ChildProcess) {
    this.printed = printed;
    this.#child = child;
  }

  static async start(options: CloudsProcessOptions): Promise<CloudsProcess> {
    const { stateDir, args = [], env = {}, log, detached = false } = options;
    const child = spawn(path.join(bin, 'local-clouds'), ['--state-dir', stateDir, ...args, '--until-eof'], {
      stdio: ['pipe', 'pipe', log === undefined ? 'ignore' : 'pipe'],
      detached,
      env: { ...process.env, ...env },
    });
    if (log !== undefined) child.stderr?.pipe(createWriteStream(log));
    const printed = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stdout?.on('data', (piece: Buffer) => {
        text += piece.toString();
        if (text.includes('\n')) resolve(text.split('\n')[0] ?? '');
      });
      child.once('error', reject);
      child.once('close', (code) => reject(new Error(`The local clouds ended with ${String(code)}.`)));
    });
    return new CloudsProcess(printed, child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_GRACE_MS);
    await closed;
    clearTimeout(timer);
  }
}
