/** The commands that a person types in a migration, each with what it printed. */
import { writeFile } from 'node:fs/promises';

import { type Ended, ended } from '../test-support/live-workspace.ts';
import type { WorkspaceClone } from '../test-support/workspace-clone.ts';

/** A command that has ended. */
export interface Typed extends Ended {
  readonly command: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly seconds: number;
}

/** Types commands in a workspace, one at a time as a person does, and keeps them. */
export class Commands {
  readonly typed: Typed[] = [];
  readonly #clone: WorkspaceClone;
  readonly #signal: AbortSignal;
  #last: Promise<unknown> = Promise.resolve();

  constructor(clone: WorkspaceClone, signal: AbortSignal) {
    this.#clone = clone;
    this.#signal = signal;
  }

  /** `npx ryla …`. Throws with what it printed when its exit code is not one of those that are expected. */
  ryla(args: readonly string[], expected: readonly number[] = [0]): Promise<Typed> {
    return this.#type('ryla', args, expected);
  }

  /** `npx nx …` */
  nx(args: readonly string[]): Promise<Typed> {
    return this.#type('nx', args, [0]);
  }

  /** Writes all of it down. */
  async write(file: string): Promise<void> {
    const parts = this.typed.map(
      ({ command, code, stdout, stderr, seconds }) =>
        `## ${command}\n\nexit code ${String(code)}, ${seconds.toFixed(1)} s\n\n\`\`\`\n${stderr}${stdout}\`\`\`\n`,
    );
    await writeFile(file, parts.join('\n'));
  }

  #type(program: 'ryla' | 'nx', args: readonly string[], expected: readonly number[]): Promise<Typed> {
    const typed = this.#last.then(() => this.#run(program, args, expected));
    this.#last = typed.catch(() => undefined);
    return typed;
  }

  async #run(program: 'ryla' | 'nx', args: readonly string[], expected: readonly number[]): Promise<Typed> {
    this.#signal.throwIfAborted();
    const at = Date.now();
    const child = this.#clone.start(program, args);
    const stop = (): void => void child.kill('SIGTERM');
    this.#signal.addEventListener('abort', stop, { once: true });
    const end = await ended(child);
    this.#signal.removeEventListener('abort', stop);
    this.#signal.throwIfAborted();
    const command = ['npx', program, ...args.map(quoted)].join(' ');
    const typed = { command, at, seconds: (Date.now() - at) / 1000, ...end };
    this.typed.push(typed);
    if (end.code !== null && expected.includes(end.code)) return typed;
    throw new Error(`\`${command}\` ended with exit code ${String(end.code)}:\n${end.stderr}${end.stdout}`);
  }
}

function quoted(text: string): string {
  return /^[\w./:=@-]+$/.test(text) ? text : JSON.stringify(text);
}
