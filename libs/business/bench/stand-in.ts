import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';

/** Credentials that every stand-in takes. */
export const TOKEN = 'bench';

/** A server in a process of its own. */
export interface StandIn extends AsyncDisposable {
  readonly url: string;
}

/** What is started, and how far away it is. */
export interface StandInOptions {
  readonly program?: string;
  /** Milliseconds by which every answer is late. */
  readonly delayMs?: number;
}

/** Starts a program of this folder that prints its address and ends with its standard input. */
export async function startStandIn(
  kind: 'comfy-api' | 'comfyui' | 'runpod' | 'pictures',
  { program = 'stand-in-process.ts', delayMs = 0 }: StandInOptions = {},
): Promise<StandIn> {
  const child = spawn(
    process.execPath,
    ['--conditions=@ryla/source', path.join(import.meta.dirname, program), kind, String(delayMs)],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  const closed = once(child, 'close');
  const said: unknown[] = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    closed,
  ]);
  const url = said[0];
  if (typeof url !== 'string') throw new Error(`${program} ended before it had an address.`);
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.stdin.end();
      await closed;
    },
  };
}
