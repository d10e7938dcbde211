/** Somebody at a terminal who is asked. */
import process from 'node:process';
import { createInterface } from 'node:readline/promises';

/** Asks one question, and waits for the answer as long as it takes. */
export type Person = (question: string, signal: AbortSignal) => Promise<string>;

/** Who sits at this terminal; undefined where there is none. */
export function personHere(): Person | undefined {
  if (!process.stdin.isTTY) return undefined;
  return async (question, signal) => {
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    // On a terminal, readline takes Ctrl-C before the process does.
    lines.on('SIGINT', () => process.emit('SIGINT'));
    try {
      return await lines.question(question, { signal });
    } finally {
      lines.close();
    }
  };
}
